"""Matching losses as pure functions; weights and schedules belong to the methods that call them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from study.core.errors import ShapeError

GradientDistance = Literal["grouped_cosine", "cosine", "mse"]

COSINE_EPSILON = 1e-6


def distribution_matching_loss(real_means: Tensor, synthetic_means: Tensor) -> Tensor:
    """Squared distance between class-mean embeddings [classes, d], summed over features and classes.

    The real means are detached; gradient flows through the synthetic ones. Gives a scalar >= 0, no unit, that
    grows with d, so an image learning rate belongs to one embedding. Raises ShapeError for other shapes.

    Source: Zhao and Bilen 2023 (DM), equation 4, with a sum where the paper writes a norm: no root, no mean.
    """
    if real_means.ndim != 2 or real_means.shape != synthetic_means.shape:
        raise ShapeError(
            f"real means have shape {tuple(real_means.shape)}, synthetic means "
            f"{tuple(synthetic_means.shape)}; expected [classes, d] twice"
        )
    return (real_means - synthetic_means).square().sum()


def attention_matching_loss(
    real_maps: Sequence[Tensor], synthetic_maps: Sequence[Tensor], layer_weights: Sequence[float]
) -> Tensor:
    """Squared distances between class-mean attention maps, summed over pixels and classes, weighted by layer.

    Maps are [classes, h · w] a layer, means of unit-length maps; the real ones are detached. Gives a scalar
    >= 0, no unit, at most 4 · classes · sum of the weights. Raises ShapeError where layers do not match.

    Source: Sajedi et al. 2023 (DataDAM), equation 3; all its weights are 1.
    """
    if not len(real_maps) == len(synthetic_maps) == len(layer_weights) > 0:
        raise ShapeError(
            f"{len(real_maps)} real and {len(synthetic_maps)} synthetic attention layers under "
            f"{len(layer_weights)} weights; expected the same number, at least 1"
        )
    layers = zip(layer_weights, real_maps, synthetic_maps, strict=True)
    # One map is to one layer what the embedding is to DM.
    terms = [weight * distribution_matching_loss(real, synthetic) for weight, real, synthetic in layers]
    return torch.stack(terms).sum()


def gradient_distance(
    real: Sequence[Tensor], synthetic: Sequence[Tensor], metric: GradientDistance = "grouped_cosine"
) -> Tensor:
    """Distance between a network's gradients [classes, *shape] on real and on synthetic images, by parameter.

    ``grouped_cosine``: each parameter is cut into rows, one an output unit, and 1 - cos is summed over
    rows, parameters and classes; parameters of one axis (biases, norms) do not count. ``cosine``: one
    angle a class, over all parameters. ``mse``: squared distance, summed over all parameters.

    The real gradients are detached. Gives a scalar >= 0, no unit; equal gradients give about 0, not exactly:
    a row of length g leaves 1e-6 / (g² + 1e-6), and a row that is zero on one side counts 1. Raises
    ShapeError where the gradients differ in number or shape.

    Source: Zhao, Mopuri and Bilen 2021 (DC), equation 9 and its released code: sums, not means.
    """
    if [tuple(one.shape) for one in real] != [tuple(one.shape) for one in synthetic] or not real:
        raise ShapeError(
            f"gradients of {len(real)} real and {len(synthetic)} synthetic parameters differ in shape, or none"
        )
    if metric == "mse":
        return torch.stack([(s - r).square().sum() for r, s in zip(real, synthetic, strict=True)]).sum()
    if metric == "cosine":
        return _one_minus_cosine(
            torch.cat([one.flatten(1) for one in real], 1),
            torch.cat([one.flatten(1) for one in synthetic], 1),
        )
    rows = [(r.flatten(2), s.flatten(2)) for r, s in zip(real, synthetic, strict=True) if r.ndim > 2]
    return torch.stack([_one_minus_cosine(r, s) for r, s in rows]).sum()


def _one_minus_cosine(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum of 1 - cos over all rows, the last axis."""
    product = (real * synthetic).sum(-1)
    lengths = real.square().sum(-1).sqrt() * _safe_sqrt(synthetic.square().sum(-1))
    return (1 - product / (lengths + COSINE_EPSILON)).sum()


def _safe_sqrt(square: Tensor) -> Tensor:
    """Root whose gradient at 0 is 0 instead of infinite: a dead unit must not spoil the pixels."""
    dead = square == 0
    return torch.where(dead, 0.0, torch.where(dead, 1.0, square).sqrt())
