"""Training images ranked by difficulty within their class, and the numbers behind pictures of that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from study.core.errors import ShapeError


def rank_by_class(scores: Tensor, labels: Tensor, num_classes: int) -> list[Tensor]:
    """Positions of each class's images, int64 on the CPU, smallest score and so easiest first.

    Scores and labels are [n]; equal scores keep the order of the training set. Raises ShapeError where they
    differ in length, or a score is not a number.
    """
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ShapeError(
            f"scores have shape {tuple(scores.shape)}, labels {tuple(labels.shape)}; expected [n] twice"
        )
    if bool(scores.isnan().any()):
        raise ShapeError("a score is not a number, so the images cannot be ranked")
    order = torch.argsort(scores.cpu(), stable=True)
    classes = labels.cpu()[order]
    return [order[classes == label] for label in range(num_classes)]


def difficulty_histogram(
    scores: Tensor, labels: Tensor, num_classes: int, num_bins: int = 20
) -> tuple[Tensor, Tensor]:
    """Edges [bins + 1] float32 of equal bins, and counts [classes, bins] int64 of finite scores [n] in them.

    Bins span the scores of all classes; each holds its left edge, the last one both.
    """
    low, high = float(scores.min()), float(scores.max())
    edges = torch.linspace(low, high if high > low else low + 1.0, num_bins + 1)
    # Inner edges alone: nothing lies outside, and the largest score belongs to the last bin.
    bins = torch.bucketize(scores.cpu(), edges[1:-1], right=True)
    counts = torch.bincount(labels.cpu() * num_bins + bins, minlength=num_classes * num_bins)
    return edges, counts.view(num_classes, num_bins)


def easiest_and_hardest(ranking: Sequence[Tensor], num_images: int) -> tuple[list[Tensor], list[Tensor]]:
    """Positions of the images to show: of each class the easiest, and the hardest with the worst first.

    A class with fewer than ``num_images`` gives all it has, in both orders.
    """
    easiest = [positions[:num_images] for positions in ranking]
    hardest = [positions.flip(0)[:num_images] for positions in ranking]
    return easiest, hardest
