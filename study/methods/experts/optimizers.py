"""Optimisers of a network that is one flat vector: plain SGD, and the search for flat minima (GSAM)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TINY = 1e-12
"""Keeps the quotients of zero gradients finite."""


class FlatSGD:
    """SGD with momentum and weight decay on a flat vector, updated in place, as ``torch.optim.SGD`` reckons it."""

    def __init__(self, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self._velocity: Tensor | None = None

    @torch.no_grad()
    def step(self, flat: Tensor, direction: Tensor) -> None:
        """Move ``flat`` [D] against ``direction`` [D]; the direction is left as it was."""
        if self.weight_decay:
            direction = direction.add(flat, alpha=self.weight_decay)
        if self.momentum:
            if self._velocity is None:
                self._velocity = direction.clone()
            else:
                self._velocity.mul_(self.momentum).add_(direction)
            direction = self._velocity
        flat.add_(direction, alpha=-self.lr)


@torch.no_grad()
def gsam_direction(
    flat: Tensor, gradient_at: Callable[[Tensor], Tensor], *, rho: float, alpha: float, adaptive: bool = True
) -> Tensor:
    """Descent direction [D] that also lowers the gap between a point and the worst one near it.

    With g the gradient at θ and g̃ the one at θ + ρ θ²⊙g / ‖|θ|⊙g‖ (or θ + ρ g / ‖g‖ where not ``adaptive``),
    the direction is g̃ − α g⊥, where g⊥ is the part of g orthogonal to g̃; α = 0 is (adaptive) SAM.

    ``flat`` [D] is θ, and is not changed. ``gradient_at`` gives the gradient [D] of one batch's loss; it is
    called twice and has to see the same pixels.

    Source: Zhuang et al. 2022 (GSAM), as FTD, DATM and PAD train their experts, with a constant ``rho``.
    """
    gradient = gradient_at(flat)
    scale = flat.abs() if adaptive else torch.ones_like(flat)
    ascent = scale.square().mul_(gradient).mul_(rho / (torch.linalg.vector_norm(scale * gradient) + TINY))
    perturbed = gradient_at(flat + ascent)
    along = torch.dot(gradient, perturbed) / (torch.dot(perturbed, perturbed) + TINY)
    orthogonal = gradient - along * perturbed
    return perturbed - alpha * orthogonal
