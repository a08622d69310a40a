"""Stand-ins for experts where only the time of matching them counts."""

from __future__ import annotations

import torch
from torch import Tensor

from study.methods.base import Task
from study.models.flat_params import flatten_parameters


class UntrainedExperts:
    """One network for every epoch but for a little noise; costs what trained experts cost."""

    num_experts = 1

    def __init__(self, task: Task) -> None:
        generator = torch.Generator().manual_seed(0)
        self._flat = flatten_parameters(task.network(generator))
        self._noise = 0.01 * torch.randn(len(self._flat), generator=generator).to(self._flat.device)

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        """Parameters [D], a little further with every epoch."""
        return self._flat + epoch * self._noise

    def final(self, expert: int) -> Tensor:
        """Parameters [D] after the first epoch."""
        return self.snapshot(expert, 1)
