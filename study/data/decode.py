"""Image files to tensors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from study.core.device import num_cores
from study.core.errors import DataError
from study.core.reporting import advance, work

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

CHUNK = 16
"""Files a task of a thread: handing over a small one takes as long as decoding it."""
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
    gray, pixels, done = True, torch.empty(0), 0
    parts = [files[begin : begin + CHUNK] for begin in range(0, len(files), CHUNK)]
    with ThreadPoolExecutor(min(8, num_cores())) as pool, work("decoding images", len(files)):
        for part, arrays in zip(
            parts, pool.map(partial(_decode_part, resolution=resolution), parts), strict=True
        ):
            if not done:
                pixels = torch.empty(len(files), 3, *arrays[0].shape[:2], dtype=torch.uint8)
            for path, array in zip(part, arrays, strict=True):
                height, width = array.shape[:2]
                if (height, width) != pixels.shape[2:]:
                    raise DataError(
                        f"{path} is {width} x {height} pixels, but {files[0]} is {pixels.shape[3]} x "
                        f"{pixels.shape[2]}; give --resolution to bring all to one size"
                    )
            gray = gray and all(array.ndim == 2 for array in arrays)
            # A gray image has three equal channels among colour ones.
            shown = [array if array.ndim == 3 else array[:, :, None].repeat(3, 2) for array in arrays]
            pixels[done : done + len(part)] = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
            done += len(part)
            advance(len(part))
    return pixels[:, :1].clone() if gray else pixels


def _decode_part(files: Sequence[Path], resolution: int | None) -> list[np.ndarray[Any, Any]]:
    return [_decode(path, resolution) for path in files]


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
