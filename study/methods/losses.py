"""Matching losses as pure functions; weights and schedules belong to the methods that call them."""

from __future__ import annotations

from torch import Tensor

from study.core.errors import ShapeError

__all__ = ["distribution_matching_loss"]


def distribution_matching_loss(real_means: Tensor, synthetic_means: Tensor) -> Tensor:
    """Squared distance between class-mean embeddings, summed over features and classes.

    Args:
        real_means: [classes, d] float32 or float64, mean embedding of each class's real images, detached.
        synthetic_means: [classes, d], the same of the synthetic images; gradient flows through it.

    Returns:
        Scalar >= 0, no unit. It grows with d, so an image learning rate belongs to one embedding.

    Raises:
        ShapeError: the shapes differ or are not two-dimensional.

    Source: Zhao and Bilen 2023 (DM), equation 4, with a sum where the paper writes a norm: no root, no mean.
    """
    if real_means.ndim != 2 or real_means.shape != synthetic_means.shape:
        raise ShapeError(
            f"real means have shape {tuple(real_means.shape)}, synthetic means "
            f"{tuple(synthetic_means.shape)}; expected [classes, d] twice"
        )
    return (real_means - synthetic_means).square().sum()
