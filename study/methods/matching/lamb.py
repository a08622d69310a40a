"""LAMB: Adam whose step is as long as a share of what it moves, so that one rate suits every kind of data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

BETAS = (0.9, 0.999)
EPSILON = 1e-6


class LAMB(Optimizer):
    """Moves each tensor by ``lr`` times its own norm along Adam's direction, or by ``lr`` along it from zero.

    Source: You et al. 2020, as optax has it: no weight decay and no bound on norms.
    """

    def __init__(self, tensors: Iterable[Tensor], lr: float) -> None:
        super().__init__(tensors, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move along the gradients; ``closure`` is not called, since there is nothing to evaluate again."""
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._move(tensor, tensor.grad, self.state[tensor], group["lr"])

    def _move(self, tensor: Tensor, gradient: Tensor, state: dict[str, Any], lr: float) -> None:
        if not state:
            state.update(step=0, mean=torch.zeros_like(tensor), square=torch.zeros_like(tensor))
        state["step"] += 1
        first, second = BETAS
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        mean = state["mean"] / (1 - first ** state["step"])
        square = state["square"] / (1 - second ** state["step"])
        direction = mean / (square.sqrt() + EPSILON)
        own, its = tensor.norm(), direction.norm()
        ratio = torch.where((own > 0) & (its > 0), own / its, torch.ones_like(own))
        tensor.sub_(lr * ratio * direction)
