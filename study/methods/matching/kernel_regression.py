"""Kernel ridge regression on features, in closed form: what a network trained to the end would predict."""

from __future__ import annotations

import torch
from torch import Tensor

from study.core.errors import ShapeError

RIDGE = 1e-6
"""Of the mean of the kernel matrix's diagonal, which makes predictions blind to the size of features."""


def centred_targets(labels: Tensor, num_classes: int) -> Tensor:
    """Regression targets [n, classes] float32 of labels [n] int64: one-hot rows less their mean 1 / classes."""
    return torch.nn.functional.one_hot(labels, num_classes).float() - 1 / num_classes


def kernel_prediction(features: Tensor, targets: Tensor, queries: Tensor, ridge: float = RIDGE) -> Tensor:
    """Predictions [q, classes] for queries [q, d] of a ridge regression on features [n, d] and targets [n, classes].

    The kernel is the inner product and the penalty ``ridge`` times the mean of its diagonal, so that scaling all
    features changes nothing. Everything stays in the type of the features, float32 or float64; a matrix that
    float32 cannot factor is factored in float64. Gradient flows to all three.

    Raises ShapeError where sizes do not match.

    Source: Zhou, Nezhadarya and Ba 2022 (FRePo), equation 3 and its released regulariser.
    """
    if features.ndim != 2 or features.shape[1:] != queries.shape[1:] or len(targets) != len(features):
        raise ShapeError(
            f"features {tuple(features.shape)}, targets {tuple(targets.shape)} and queries {tuple(queries.shape)}; "
            "expected [n, d], [n, classes] and [q, d]"
        )
    penalty = ridge * features.square().sum() / len(features)
    # Of two matrices with the same answer the smaller one: with more images than entries of a feature the kernel is
    # nearly singular, and its weights are so large that float32 loses what is left of their sum.
    primal = len(features) > features.shape[1]
    matrix = features.T @ features if primal else features @ features.T
    right = features.T @ targets if primal else targets
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    factor, failed = torch.linalg.cholesky_ex(matrix + penalty * identity)
    if bool(failed) and features.dtype is torch.float32 and bool(matrix.isfinite().all()):
        wide = kernel_prediction(features.double(), targets.double(), queries.double(), ridge)
        return wide.to(features.dtype)
    solved = torch.cholesky_solve(right, factor)
    return queries @ (solved if primal else features.T @ solved)


def regression_loss(prediction: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Half the squared error of predictions [q, classes], summed over classes; ``weights`` [q] average the images."""
    return weights @ (0.5 * (prediction - targets).square().sum(1))


def label_margin_loss(targets: Tensor) -> Tensor:
    """How far the largest entry of learned targets [n, classes] is from standing 1 / classes above the second.

    Gives a scalar in [0, 1 / classes], averaged over images; its gradient is 0 for rows that keep the margin.

    Source: released code of FRePo, which subtracts the margin itself: the same but for a constant.
    """
    margin = 1 / targets.shape[1]
    first, second = targets.topk(2, dim=1).values.unbind(1)
    return (margin - (first - second)).clamp(min=0).mean()
