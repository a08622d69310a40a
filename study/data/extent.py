"""How large a dataset's images are and how many there are, without decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from study.core.errors import DataError
from study.data.source import HOLD_OUT_FRACTION, DatasetSpec

LOOKED_AT = 256
"""Files, evenly spread, whose headers tell the size of all."""
_TURNED = range(5, 9)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Extent:
    """What is known of a dataset before its images are decoded.

    Attributes:
        num_channels: 1 or 3.
        height: of the smallest image, in pixels, and ``width`` its width.
        class_counts: images of each class that are not for test.
        one_size: whether all images looked at have the same size.
    """

    num_channels: int
    height: int
    width: int
    class_counts: tuple[int, ...]
    one_size: bool = True


def extent(spec: DatasetSpec, root: Path) -> Extent:
    """The extent of a dataset in a data root.

    Raises:
        MissingDataError: its files are not there.
        DataError: a file is broken.
    """
    if spec.look is not None:
        files, class_counts = spec.look(root)
        return _of_files(files, class_counts)
    source = spec.load(root, None)
    channels, height, width = source.image_shape
    return Extent(channels, height, width, tuple(source.train.class_counts(len(source.class_names))))


def without_test(class_counts: Sequence[int]) -> list[int]:
    """What the fixed held-out fifth leaves of each class where a dataset ships no test set."""
    return [round(count * (1 - HOLD_OUT_FRACTION)) for count in class_counts]


def _of_files(files: Sequence[Path], class_counts: Sequence[int]) -> Extent:
    step = max(1, len(files) // LOOKED_AT)
    shapes, gray = set(), True
    for path in files[::step]:
        try:
            with Image.open(path) as image:
                width, height = image.size
                gray = gray and image.mode in {"1", "L", "LA"}
                if image.getexif().get(_ORIENTATION) in _TURNED:
                    width, height = height, width
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        shapes.add((height, width))
    height, width = min(shapes, key=min)
    return Extent(1 if gray else 3, height, width, tuple(class_counts), len(shapes) == 1)
