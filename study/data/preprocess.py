"""From pixels in [0, 1] to the normalised space in which networks and synthetic images live, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from study.core.errors import DataError, ShapeError
from study.core.records import image_shape

Kind = Literal["standard", "zca", "none"]

MAX_ZCA_SIZE = 12_288
"""Largest C*H*W that is whitened: 64 by 64 in colour; its matrix takes 0.6 GB."""
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """An invertible map between pixels and normalised space; stored with every synthetic set.

    Attributes:
        kind: ``standard`` subtracts a mean and divides by a deviation for each channel, ``zca``
            subtracts a mean image and whitens, ``none`` leaves pixels as they are.
        image_shape: channels, height, width it was made for.
        mean: of each channel, for ``standard``, as is ``std``.
        zca_mean: [C, H, W] float32, for ``zca``.
        zca_matrix: [C*H*W, C*H*W] float32, symmetric, for ``zca``.
        zca_epsilon: what was added to the eigenvalues.
    """

    kind: Kind
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    zca_mean: Tensor | None = None
    zca_matrix: Tensor | None = None
    zca_epsilon: float | None = None
    _inverse: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        channels = self.image_shape[0]
        if self.kind not in get_args(Kind):
            raise DataError(
                f"preprocessing kind {self.kind!r} is not known. Choices: {', '.join(get_args(Kind))}"
            )
        if self.kind == "standard":
            if (len(self.mean), len(self.std)) != (channels, channels):
                raise DataError(f"standard preprocessing of {channels} channels needs as many means and stds")
            if min(self.std) <= 0:
                raise DataError(f"standard deviations {self.std} must be above 0")
        if self.kind == "zca":
            size = math.prod(self.image_shape)
            if self.zca_mean is None or self.zca_matrix is None:
                raise DataError("zca preprocessing needs its mean image and its matrix")
            if tuple(self.zca_mean.shape) != self.image_shape or tuple(self.zca_matrix.shape) != (size, size):
                raise DataError(f"the zca mean and matrix do not fit images of shape {self.image_shape}")

    def apply(self, images: Tensor) -> Tensor:
        """Normalise images, [n, C, H, W] float32 in [0, 1]; gradient flows through.

        Raises:
            ShapeError: the images do not have the channels (or, for zca, the size) it was made for.
        """
        self._check(images)
        if self.kind == "standard":
            mean, std = self._moments(images)
            return (images - mean).div_(std)
        if self.zca_mean is not None and self.zca_matrix is not None:
            centred = (images - self.zca_mean.to(images)).flatten(1)
            return (centred @ self.zca_matrix.to(images)).view_as(images)
        return images

    def invert(self, images: Tensor) -> Tensor:
        """Pixels of normalised images, [n, C, H, W] float32, perhaps outside [0, 1]; gradient flows through."""
        self._check(images)
        if self.kind == "standard":
            mean, std = self._moments(images)
            return images * std + mean
        if self.zca_mean is not None and self.zca_matrix is not None:
            if not self._inverse:
                # Eigenvalues of the matrix reach from about 0.1 to 3.2, so inverting loses nothing.
                self._inverse.append(torch.linalg.inv(self.zca_matrix.double()).float())
            pixels = (images.flatten(1) @ self._inverse[0].to(images)).view_as(images)
            return pixels + self.zca_mean.to(images)
        return images

    def to_plain(self) -> dict[str, Any]:
        """Everything but tensors, as a manifest stores it."""
        return {
            "kind": self.kind,
            "image_shape": list(self.image_shape),
            "channel_order": "gray" if self.image_shape[0] == 1 else "RGB",
            "pixel_range": [0.0, 1.0],
            "mean": list(self.mean),
            "std": list(self.std),
            "zca_epsilon": self.zca_epsilon,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The tensors a manifest cannot hold, by name; empty unless the kind is ``zca``."""
        if self.zca_mean is None or self.zca_matrix is None:
            return {}
        return {"zca_mean": self.zca_mean, "zca_matrix": self.zca_matrix}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Preprocessing:
        """What :meth:`to_plain` and :meth:`tensors` stored; other tensors are ignored.

        Raises:
            DataError: a value is missing or does not fit the others.
        """
        try:
            channels, height, width = (int(side) for side in plain["image_shape"])
            mean, std = (tuple(float(value) for value in plain[name]) for name in ("mean", "std"))
            kept = tensors if plain["kind"] == "zca" else {}
            return cls(
                plain["kind"], (channels, height, width), mean, std, kept.get("zca_mean"), kept.get("zca_matrix"),
                zca_epsilon=plain.get("zca_epsilon"),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"stored preprocessing is incomplete: {error!r}") from error

    def _check(self, images: Tensor) -> None:
        shape = tuple(images.shape[1:])
        fits = shape[:1] == self.image_shape[:1] if self.kind == "standard" else shape == self.image_shape
        if images.ndim != 4 or (self.kind != "none" and not fits):
            raise ShapeError(
                f"images have shape {tuple(images.shape)}, preprocessing is for {self.image_shape}"
            )

    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = images.new_tensor(self.mean), images.new_tensor(self.std)
        return mean[:, None, None], std[:, None, None]


def fit_standard(images: Tensor) -> Preprocessing:
    """Mean and deviation of each channel over all training pixels, [n, C, H, W] float32 in [0, 1]."""
    pixels = images.transpose(0, 1).flatten(1)
    std, mean = zip(*(torch.std_mean(channel, correction=0) for channel in pixels), strict=True)
    # A channel that never changes carries nothing; dividing it by 1 keeps it at zero.
    stds = tuple(float(value) if value > 0 else 1.0 for value in std)
    return Preprocessing("standard", image_shape(images), tuple(float(value) for value in mean), stds)


def fit_zca(images: Tensor, epsilon: float = 0.1) -> Preprocessing:
    """Whitening by W = U (L + epsilon I)^(-1/2) U^T of the covariance U L U^T of training pixels.

    Args:
        images: [n, C, H, W] float32 in [0, 1], at least two.
        epsilon: added to every eigenvalue; 0.1 in MTT and its heirs.

    Raises:
        DataError: images have more than :data:`MAX_ZCA_SIZE` values, or there are fewer than two.

    Source: the whitening of Krizhevsky 2009 as MTT applies it. It replaces mean and deviation.
    """
    shape = image_shape(images)
    size = check_zca_size(shape)
    if len(images) < 2:
        raise DataError("zca needs at least two training images")
    mean = images.mean(dim=0)
    covariance = torch.zeros(size, size)
    for chunk in torch.split(images, _CHUNK):
        centred = (chunk - mean).flatten(1)
        covariance.addmm_(centred.T, centred)
    values, vectors = torch.linalg.eigh(covariance.div_(len(images) - 1).double())
    matrix = (vectors * (values.clamp_min(0) + epsilon).rsqrt()) @ vectors.T
    matrix = ((matrix + matrix.T) / 2).float()
    return Preprocessing("zca", shape, zca_mean=mean, zca_matrix=matrix, zca_epsilon=epsilon)


def check_zca_size(image_shape: tuple[int, int, int]) -> int:
    """Values in one image, if its whitening matrix is of reasonable size.

    Raises:
        DataError: there are more than :data:`MAX_ZCA_SIZE`.
    """
    size = math.prod(image_shape)
    if size > MAX_ZCA_SIZE:
        raise DataError(
            f"zca of images {image_shape} needs a matrix of {size} x {size}; at most {MAX_ZCA_SIZE} values an "
            "image are whitened. Lower --resolution, or use preprocessing = 'standard'"
        )
    return size
