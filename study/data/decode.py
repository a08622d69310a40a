"""Image files to tensors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    with ThreadPoolExecutor(min(8, num_cores())) as pool:
        with work("reading image files", len(files)):
            headers = list(_counted(pool.map(_read_header, files)))
        gray = all(mode in _GRAY_MODES for mode, _ in headers)
        first = headers[0][1]
        for path, (_, size) in zip(files, headers, strict=True):
            if resolution is None and size != first:
                raise DataError(
                    f"{path} is {size[0]} x {size[1]} pixels, but {files[0]} is {first[0]} x {first[1]}; "
                    "give --resolution to bring all to one size"
                )
        width, height = first if resolution is None else (resolution, resolution)
        pixels = torch.empty(len(files), 1 if gray else 3, height, width, dtype=torch.uint8)

        def fill(index: int) -> None:
            pixels[index] = _decode(files[index], "L" if gray else "RGB", (width, height))

        with work("decoding images", len(files)):
            list(_counted(pool.map(fill, range(len(files)))))
    return pixels


def _counted(results: Iterable[Result]) -> Iterator[Result]:
    """Results as they come, each a unit of the work at hand."""
    for result in results:
        advance()
        yield result


def _read_header(path: Path) -> tuple[str, tuple[int, int]]:
    """Colour mode and size (width, height) as shown, without decoding the pixels."""
    try:
        with Image.open(path) as image:
            # EXIF orientations from 5 on lie on their side.
            turned = image.getexif().get(0x0112, 1) >= 5
            mode, (width, height) = image.mode, image.size
    except _BROKEN as error:
        raise DataError(f"{path} cannot be decoded: {error}") from error
    if mode not in _GRAY_MODES | _COLOUR_MODES:
        raise DataError(f"{path} has pixels of mode {mode!r}; convert it to 8 bits a channel")
    return mode, ((height, width) if turned else (width, height))


def _decode(path: Path, mode: str, size: tuple[int, int]) -> Tensor:
    try:
        with Image.open(path) as opened:
            opened.load()
            image: Image.Image = ImageOps.exif_transpose(opened)
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert(mode)
    except _BROKEN as error:
        raise DataError(f"{path} cannot be decoded: {error}") from error
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    array = torch.from_numpy(np.array(image))
    return array[None] if mode == "L" else array.permute(2, 0, 1)
