"""Image files to tensors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from study.core.device import num_cores
from study.core.errors import DataError
from study.core.reporting import advance, work

Result = TypeVar("Result")
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_GRAY_MODES = {"1", "L", "LA"}
_COLOUR_MODES = {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def describe_files(files: Sequence[Path]) -> list[list[Any]]:
    """Name, size and modification time of each file: what tells a changed copy from the cached one."""
    states = [(path, path.stat()) for path in files]
    return [[path.name, state.st_size, state.st_mtime_ns] for path, state in states]


def decode_images(files: Sequence[Path], resolution: int | None) -> Tensor:
    """[n, C, H, W] uint8 pixels of image files; one channel if every file is gray, else three.

    Args:
        files: image files, at least one.
        resolution: pixels a side, to which the middle square of each image is scaled with antialiasing;
            None keeps the size of the files, which must then be one.

    Raises:
        DataError: a file cannot be decoded, or sizes differ and no resolution is given.
    """
    gray, pixels = True, torch.empty(0)
    with ThreadPoolExecutor(min(8, num_cores())) as pool, work("decoding images", len(files)):
        arrays = _counted(pool.map(partial(_decode, resolution=resolution), files))
        for index, (path, array) in enumerate(zip(files, arrays, strict=True)):
            height, width = array.shape[:2]
            if index == 0:
                pixels = torch.empty(len(files), 3, height, width, dtype=torch.uint8)
            elif (height, width) != pixels.shape[2:]:
                raise DataError(
                    f"{path} is {width} x {height} pixels, but {files[0]} is {pixels.shape[3]} x {pixels.shape[2]}; "
                    "give --resolution to bring all to one size"
                )
            gray = gray and array.ndim == 2
            shown = torch.from_numpy(array)
            # A gray image has three equal channels among colour ones.
            pixels[index] = shown if array.ndim == 2 else shown.permute(2, 0, 1)
    return pixels[:, :1].clone() if gray else pixels


def _counted(results: Iterable[Result]) -> Iterator[Result]:
    """Results as they come, each a unit of the work at hand."""
    for result in results:
        advance()
        yield result


def _decode(path: Path, resolution: int | None) -> np.ndarray[Any, Any]:
    """Pixels as shown: [H, W] uint8 of a gray image, else [H, W, 3]."""
    try:
        with Image.open(path) as opened:
            if opened.mode not in _GRAY_MODES | _COLOUR_MODES:
                raise DataError(f"{path} has pixels of mode {opened.mode!r}; convert it to 8 bits a channel")
            mode = "L" if opened.mode in _GRAY_MODES else "RGB"
            opened.load()
            image: Image.Image = ImageOps.exif_transpose(opened)
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert(mode)
    except _BROKEN as error:
        raise DataError(f"{path} cannot be decoded: {error}") from error
    if resolution is not None and image.size != (resolution, resolution):
        image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.BILINEAR)
    return np.array(image)
