"""Differentiable Siamese augmentation (DSA): draw parameters once, apply them to any number of batches.

A record holds everything that was drawn, so that real and synthetic images get the very same transform and a
rebuilt training step sees the very same pixels. Every operation is differentiable in the pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from study.core.config import Frozen
from study.core.errors import ShapeError, unknown_name


class AugmentationRanges(Frozen):
    """How far each operation may go; the published values are the defaults."""

    mode: Literal["single", "all"] = "single"
    """``single`` applies one operation a draw, ``all`` every one in the order of the strategy."""
    scale_ratio: float = Field(1.2, ge=1)
    """Width and height are scaled independently by U(1/ratio, ratio)."""
    rotate_degrees: float = Field(15.0, ge=0, le=180)
    """Rotation by U(-degrees, degrees)."""
    crop_fraction: float = Field(0.125, ge=0, lt=1)
    """Largest translation as a share of the side; rounded to whole pixels."""
    cutout_fraction: float = Field(0.5, ge=0, le=1)
    """Side of the square that is blanked, as a share of the image's side."""
    brightness: float = Field(1.0, ge=0)
    """Adds U(-1/2, 1/2) times this."""
    saturation: float = Field(2.0, ge=0)
    """Scales the distance to the gray pixel by U(0, this)."""
    contrast: float = Field(0.5, ge=0)
    """Scales the distance to the image's mean by U(this, this + 1)."""


class AugmentationConfig(AugmentationRanges):
    """Which operations augmentation may use, and their ranges."""

    strategy: str = "none"
    """``none``, or operations joined by ``_``: color, crop, cutout, flip, scale, rotate."""

    @field_validator("strategy")
    @classmethod
    def _known_operations(cls, strategy: str) -> str:
        names = strategy.split("_")
        for name in names if strategy != "none" else []:
            if name not in _OPERATIONS:
                raise unknown_name("augmentation", name, ["none", *_OPERATIONS])
        if len(set(names)) < len(names):
            raise ValueError("an operation is named twice")
        return strategy

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations in order; empty for ``none``."""
        return () if self.strategy == "none" else tuple(self.strategy.split("_"))


@dataclass(frozen=True, eq=False)
class AugmentationRecord:
    """Everything that was drawn for one call of augmentation; replays to the same bits.

    Attributes:
        config: operations and ranges the numbers below are mapped to.
        image_shape: channels, height, width of the images it fits.
        chosen: the operation of each draw, or one for all; empty in mode ``all`` and for strategy ``none``.
        uniform: [num_draws, 11] float32 in [0, 1); columns belong to operations as ``_OPERATIONS`` says.
    """

    config: AugmentationConfig
    image_shape: tuple[int, int, int]
    chosen: tuple[str, ...]
    uniform: Tensor

    @property
    def num_draws(self) -> int:
        """Independent parameter draws in this record."""
        return len(self.uniform)

    def to(self, device: torch.device) -> AugmentationRecord:
        """The same record with its numbers on another device."""
        return replace(self, uniform=self.uniform.to(device, non_blocking=True))


def draw(
    config: AugmentationConfig,
    num_draws: int,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
    *,
    shared_op: bool,
) -> AugmentationRecord:
    """Draw what :func:`augment` needs, and nothing else touches the generator.

    Args:
        config: operations and ranges.
        num_draws: of parameters: one an image when networks are trained, one a class in Siamese matching, where
            real and synthetic images of the class share it.
        image_shape: channels, height, width.
        generator: source of all numbers. One on the CPU avoids waiting for an accelerator.
        shared_op: in mode ``single``, one operation for all draws (network training), not one each (matching).

    Source: Zhao and Bilen 2021 (DSA). The released code reseeds the global generator from the clock
    so that two calls agree; here the record is drawn once and applied twice.
    """
    device = generator.device
    operations = config.operations
    if not operations:
        return AugmentationRecord(config, image_shape, (), torch.zeros(num_draws, 0, device=device))
    chosen: tuple[str, ...] = ()
    if config.mode == "single":
        num_choices = 1 if shared_op else num_draws
        picks = torch.randint(len(operations), (num_choices,), generator=generator, device=device)
        chosen = tuple(operations[pick] for pick in picks.tolist())
    uniform = torch.rand(num_draws, _NUM_COLUMNS, generator=generator, device=device)
    return AugmentationRecord(config, image_shape, chosen, uniform)


def join(records: Sequence[AugmentationRecord]) -> AugmentationRecord:
    """One record whose draws are those of several, in order; for batches that stack independent runs.

    Raises:
        ShapeError: the records differ in configuration or image shape, or there are none.
    """
    if not records or any(
        (r.config, r.image_shape) != (records[0].config, records[0].image_shape) for r in records
    ):
        raise ShapeError("only records of one configuration and image shape can be joined, and at least one")
    spread = [r.chosen * r.num_draws if len(r.chosen) == 1 else r.chosen for r in records]
    uniform = torch.cat([r.uniform for r in records])
    return replace(records[0], chosen=tuple(itertools.chain.from_iterable(spread)), uniform=uniform)


def augment(images: Tensor, record: AugmentationRecord, which: Tensor | None = None) -> Tensor:
    """Images under the transforms of a record.

    Args:
        images: [n, C, H, W] floating point in normalised space, where 0 fills empty places.
        record: from :func:`draw`, for images of this shape.
        which: [n] int64, the draw each image uses; by default image i uses draw i. Keep it on the CPU where draws
            differ in their operation, by which the images are grouped.

    Returns:
        [n, C, H, W] of the same type; gradient flows to the images.

    Raises:
        ShapeError: the images do not fit the record, or ``which`` does not fit the images.

    Source: Zhao and Bilen 2021 (DSA). Resampling is bilinear with ``align_corners=False``, as in the
    code of DC, DSA and DM (MTT sets it to True); rotation keeps angles on images that are not square.
    """
    if tuple(images.shape[1:]) != record.image_shape:
        raise ShapeError(f"images have shape {tuple(images.shape)}, the record is for {record.image_shape}")
    expected = record.num_draws if which is None else len(which)
    if len(images) != expected:
        raise ShapeError(f"{len(images)} images, but {expected} draws; pass `which` to say who uses which")
    operations = record.config.operations
    if not operations or not len(images):
        return images
    uniform = record.uniform.to(images.device, images.dtype, non_blocking=True)
    if which is not None:
        uniform = uniform[which.to(images.device, non_blocking=True)]
    if len(set(record.chosen)) > 1:
        return _apply_by_group(images, uniform, record, which)
    for name in record.chosen[:1] or operations:
        images = _apply(name, images, uniform, record.config)
    return images


def _apply(name: str, images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    operation, columns = _OPERATIONS[name]
    return operation(images, uniform[:, columns], config)


def _apply_by_group(
    images: Tensor, uniform: Tensor, record: AugmentationRecord, which: Tensor | None
) -> Tensor:
    """One call an operation on the images that use it, put back in order."""
    names = record.config.operations
    op_of_image = torch.tensor([names.index(name) for name in record.chosen])
    if which is not None:
        op_of_image = op_of_image[which.cpu()]
    order = torch.argsort(op_of_image, stable=True)
    sizes = torch.bincount(op_of_image, minlength=len(names)).tolist()
    there = order.to(images.device, non_blocking=True)
    back = torch.argsort(order).to(images.device, non_blocking=True)
    parts = zip(names, torch.split(images[there], sizes), torch.split(uniform[there], sizes), strict=True)
    done = [_apply(name, part, numbers, record.config) for name, part, numbers in parts if len(part)]
    return torch.cat(done)[back]


def _color(images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    """Brightness, saturation and contrast in that order, as one affine map: the mean moves with brightness alone."""
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    brightness = (brightness - 0.5) * config.brightness
    saturation = saturation * config.saturation
    contrast = contrast + config.contrast
    offset = images.mean(dim=(1, 2, 3), keepdim=True) * (1 - contrast) + brightness
    if images.shape[1] == 1:  # a gray image is its own channel mean: saturation cannot move it
        return images * contrast + offset
    gray = images.mean(dim=1, keepdim=True)
    return images * (saturation * contrast) + (gray * ((1 - saturation) * contrast) + offset)


def _crop(images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    """Whole-pixel translation with zero fill."""
    num_images, channels, height, width = images.shape
    reach_y, reach_x = _pixels(height, config.crop_fraction), _pixels(width, config.crop_fraction)
    rows = torch.arange(height, device=images.device) + _integers(uniform[:, :1], 2 * reach_y + 1) - reach_y
    columns = torch.arange(width, device=images.device) + _integers(uniform[:, 1:], 2 * reach_x + 1) - reach_x
    inside_rows = ((rows >= 0) & (rows < height)).to(images.dtype)
    inside_columns = ((columns >= 0) & (columns < width)).to(images.dtype)
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = source.flatten(1)[:, None].expand(num_images, channels, height * width)
    moved = images.flatten(2).gather(2, index).view(num_images, channels, height, width)
    return moved * (inside_rows[:, None, :, None] * inside_columns[:, None, None, :])


def _cutout(images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    """A rectangle of zeros around a uniform centre; it may reach over the border."""
    masks = []
    for axis, length in enumerate(images.shape[2:]):
        side = _pixels(length, config.cutout_fraction)
        # An even side has its centre between two pixels, so there is one more place for it.
        centre = _integers(uniform[:, axis : axis + 1], length + 1 - side % 2)
        position = torch.arange(length, device=images.device) - (centre - side // 2)
        masks.append((position >= 0) & (position < side))
    blank = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return images * (~blank).to(images.dtype)


def _flip(images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    """Mirror left and right with probability one half."""
    return torch.where(uniform[:, :, None, None] < 0.5, images.flip(3), images)


def _scale(images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    """Stretch both axes independently about the centre."""
    low, high = 1 / config.scale_ratio, config.scale_ratio
    factors = low + uniform * (high - low)
    matrix = torch.diag_embed(factors)
    return _resample(images, matrix)


def _rotate(images: Tensor, uniform: Tensor, config: AugmentationConfig) -> Tensor:
    """Rotate about the centre."""
    height, width = images.shape[2:]
    angle = (uniform[:, 0] * 2 - 1) * math.radians(config.rotate_degrees)
    cos, sin = angle.cos(), angle.sin()
    # The sampling grid is normalised by each side, which would shear images that are not square.
    rows = [torch.stack([cos, -sin * (height / width)], 1), torch.stack([sin * (width / height), cos], 1)]
    return _resample(images, torch.stack(rows, 1))


def _resample(images: Tensor, matrix: Tensor) -> Tensor:
    """Bilinear sampling at ``matrix`` [n, 2, 2] times the output position, zero outside."""
    theta = functional.pad(matrix, (0, 1))
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _pixels(length: int, fraction: float) -> int:
    return int(length * fraction + 0.5)


def _integers(uniform: Tensor, count: int) -> Tensor:
    """Integers 0 .. count - 1 from numbers in [0, 1); in half precision a number may have become 1."""
    return (uniform * count).long().clamp_(max=count - 1)


# Each operation with the columns of the record's numbers that belong to it.
_OPERATIONS: dict[str, tuple[Callable[[Tensor, Tensor, AugmentationConfig], Tensor], slice]] = {
    "flip": (_flip, slice(0, 1)),
    "scale": (_scale, slice(1, 3)),
    "rotate": (_rotate, slice(3, 4)),
    "crop": (_crop, slice(4, 6)),
    "cutout": (_cutout, slice(6, 8)),
    "color": (_color, slice(8, 11)),
}
_NUM_COLUMNS = 11
