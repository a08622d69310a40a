"""Herding: images whose mean feature stays near that of their class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from study.core.seeding import Generators
from study.methods.base import register
from study.methods.coresets.distances import FeatureCoreset, checked_rows, squared_distances


@register
class Herding(FeatureCoreset):
    """Images whose mean feature stays closest to that of their class, chosen one by one."""

    name: ClassVar[str] = "herding"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_herding(features, count)


def choose_by_herding(features: Tensor, count: int) -> Tensor:
    """Positions [count] of rows of [n, d] whose running mean stays closest to the mean of all, as chosen.

    Choice k minimises ‖k·μ − Σ − z‖ in float64, with μ the mean of all rows and Σ the sum of those chosen.

    Source: Welling 2009, in the greedy form of Rebuffi et al. 2017 (iCaRL).
    """
    rows = checked_rows(features, count)
    mean, total = rows.mean(0), torch.zeros_like(rows[0])
    chosen: list[int] = []
    for number in range(1, count + 1):
        distances = squared_distances(rows, number * mean - total)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total += rows[chosen[-1]]
    return torch.tensor(chosen)
