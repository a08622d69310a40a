"""Greedy k-center: images that leave no other one far from them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from study.core.seeding import Generators
from study.methods.base import register
from study.methods.coresets.distances import FeatureCoreset, checked_rows, squared_distances


@register
class KCenter(FeatureCoreset):
    """Images that leave no image of their class far from a chosen one; the first is nearest to the mean."""

    name: ClassVar[str] = "k-center"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_k_center(features, count)


def choose_by_k_center(features: Tensor, count: int) -> Tensor:
    """Positions [count] of rows of [n, d]: the one nearest to the mean, then the farthest from those chosen.

    Distances are taken in float64. The covering radius is at most twice the smallest possible one.

    Source: Gonzalez 1985, as Sener and Savarese 2018 use it; papers do not state their start, this is ours.
    """
    rows = checked_rows(features, count)
    chosen = [int(squared_distances(rows, rows.mean(0)).argmin())]
    nearest = squared_distances(rows, rows[chosen[0]])
    while len(chosen) < count:
        # Copies of a chosen row have distance 0 too, and only they may still be chosen.
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, squared_distances(rows, rows[chosen[-1]]))
    return torch.tensor(chosen)
