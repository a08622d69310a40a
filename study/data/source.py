"""What every dataset loader hands over, and the rules that hold for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from study.core.errors import DataError
from study.core.records import image_shape

WITH_FLIP = "color_crop_cutout_flip_scale_rotate"
"""Every operation of DSA, the default where an image and its mirror image mean the same."""
WITHOUT_FLIP = "color_crop_cutout_scale_rotate"
"""For writing: mirrored digits are other shapes or none."""

HOLD_OUT_FRACTION = 0.2
HOLD_OUT_SEED = 0
_CHUNK = 2048


@dataclass(frozen=True)
class RawImages:
    """Undistorted pixels of one split.

    Attributes:
        pixels: [n, C, H, W] uint8 from 0 to the source's ``max_value``.
        labels: [n] int64.
        votes: [n] int64 annotators who chose class 1, or None where nobody counted.
    """

    pixels: Tensor
    labels: Tensor
    votes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> RawImages:
        """The images at these positions, in this order."""
        votes = None if self.votes is None else self.votes[indices]
        return RawImages(self.pixels[indices], self.labels[indices], votes)

    def class_counts(self, num_classes: int) -> list[int]:
        """Images of each class, in label order."""
        return torch.bincount(self.labels, minlength=num_classes).tolist()


@dataclass(frozen=True)
class SourceData:
    """A dataset as its files hold it, with its own division.

    Attributes:
        train: everything that may be trained on; without ``validation``, a part of it is held out for choices.
        test: what is scored once.
        class_names: one name a class, in label order.
        max_value: the pixel value that means full brightness.
        files: cached tensor files it was read from, if any.
        validation: what the dataset itself sets aside for choices; None where it ships no such part.
    """

    train: RawImages
    test: RawImages
    class_names: tuple[str, ...]
    max_value: int = 255
    files: tuple[Path, ...] = ()
    validation: RawImages | None = None

    @property
    def parts(self) -> tuple[RawImages, ...]:
        """Train, validation where it is shipped, and test."""
        return (self.train, *([] if self.validation is None else [self.validation]), self.test)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return image_shape(self.train.pixels)


@dataclass(frozen=True)
class DatasetSpec:
    """A real dataset: what it is, and how it is read.

    A file that defines one and calls :func:`study.data.datasets.register` with it is a complete dataset.

    Attributes:
        name: what users write after ``--dataset``.
        description: one line for people.
        load: reads it from the data root at a resolution (None: as it is).
        prepare: downloads or decodes what ``load`` needs; gives one line that says what it did.
        is_present: whether its files are in a data root, whole or not.
        augmentation: default strategy of DSA.
        resolution: pixels a side of the files, and ``channels`` their colours; None where the user's images decide.
        mean: published mean of each channel of the training images in [0, 1], and ``std`` its standard deviation;
            None to compute them.
        look: finds in a data root, without decoding, the image files and the images of each class that are not for
            test; None where loading is quick.
        users_own: whether the images are whatever lies in the data root, so that their name is the user's to give.
        licence: terms of the images, as far as their owners state them.
        how_to_get: what to do where the files are missing.
    """

    name: str
    description: str
    load: Callable[[Path, int | None], SourceData]
    prepare: Callable[[Path, int | None], str]
    is_present: Callable[[Path], bool]
    augmentation: str
    resolution: int | None
    channels: int | None
    licence: str
    how_to_get: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    look: Callable[[Path], tuple[list[Path], list[int]]] | None = None
    users_own: bool = False


def decoding(name: str, load: Callable[[Path, int | None], SourceData]) -> Callable[[Path, int | None], str]:
    """How a dataset is prepared whose images are decoded into a cached file when they are loaded."""

    def prepare(root: Path, resolution: int | None) -> str:
        source = load(root, resolution)
        counts = f"{len(source.train)} train and {len(source.test)} test images"
        return f"{name}: {counts} decoded into {source.files[0]}"

    return prepare


def stratified_split(
    labels: Tensor, fraction: float, seed: int, class_names: tuple[str, ...], purpose: str
) -> tuple[Tensor, Tensor]:
    """Positions kept and positions held out, both ascending, with the classes in proportion.

    Args:
        labels: [n] int64.
        fraction: share to hold out, between 0 and 1.
        seed: of the split alone; it gives the same split on every machine.
        class_names: for messages, as is ``purpose``.
        purpose: what the held-out part is for, such as ``validation``.

    Raises:
        DataError: a class cannot be on both sides.
    """
    counts = torch.bincount(labels, minlength=len(class_names)).tolist()
    for name, count in zip(class_names, counts, strict=True):
        if count < 2:
            raise DataError(
                f"class {name!r} has {count} image(s), which cannot be split into train and {purpose}"
            )
    advice = f"{purpose} fraction {fraction} of {len(labels)} images in {len(class_names)} classes"
    try:
        kept, held = train_test_split(
            torch.arange(len(labels)).numpy(), test_size=fraction, random_state=seed, stratify=labels.numpy()
        )
    except ValueError as error:
        raise DataError(f"{advice}: {error}") from error
    kept_indices, held_indices = torch.from_numpy(kept).sort().values, torch.from_numpy(held).sort().values
    for indices, where in ((kept_indices, "train"), (held_indices, purpose)):
        sides = torch.bincount(labels[indices], minlength=len(class_names)).tolist()
        if 0 in sides:
            empty = sides.index(0)
            name, count = class_names[empty], counts[empty]
            raise DataError(f"{advice} leaves class {name!r} ({count} images) without an image in {where}")
    return kept_indices, held_indices


def hold_out(images: RawImages, class_names: tuple[str, ...]) -> tuple[RawImages, RawImages]:
    """Train and test of a dataset that has no test set of its own: always the same stratified fifth."""
    kept, held = stratified_split(images.labels, HOLD_OUT_FRACTION, HOLD_OUT_SEED, class_names, "test")
    return images.subset(kept), images.subset(held)


def resize(source: SourceData, resolution: int | None) -> SourceData:
    """The same images as squares of ``resolution`` pixels; unchanged where they are that size already.

    Bilinear with antialiasing, in [0, 255] rounded to whole numbers.
    """
    if resolution is None or source.image_shape[1:] == (resolution, resolution):
        return source
    train, *validation, test = (
        replace(part, pixels=_resize_pixels(part.pixels, resolution, source.max_value))
        for part in source.parts
    )
    return replace(
        source, train=train, validation=validation[0] if validation else None, test=test, max_value=255
    )


def _resize_pixels(pixels: Tensor, resolution: int, max_value: int) -> Tensor:
    size = (resolution, resolution)
    resized = torch.empty(*pixels.shape[:2], *size, dtype=torch.uint8)
    for start in range(0, len(pixels), _CHUNK):
        scaled = pixels[start : start + _CHUNK].float() * (255 / max_value)
        smooth = functional.interpolate(scaled, size, mode="bilinear", antialias=True, align_corners=False)
        resized[start : start + _CHUNK] = smooth.round_().clamp_(0, 255).to(torch.uint8)
    return resized


def fingerprint(source: SourceData) -> str:
    """SHA-256 (hex) over shapes, pixels and labels of all parts, and the class names."""
    digest = hashlib.sha256(repr((source.class_names, source.max_value)).encode())
    for part in source.parts:
        digest.update(repr(tuple(part.pixels.shape)).encode())
        for tensor in (part.pixels, part.labels):
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
