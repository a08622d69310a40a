"""Images that a method learns, and the signs that it has run away."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from study.core.errors import DivergedError
from study.core.records import ImageDataset, Progress, SyntheticSet

MAX_PIXEL = 1e4
"""Normalised pixels lie within ±10; instance norm hides the size of an image, so a runaway learning rate
blows images up long before any loss becomes infinite."""


class LearnedImages(ABC):
    """Synthetic images, and what else is learned with them, moved by an optimiser.

    Attributes:
        pixels: [n, C, H, W] float32, grouped by class.
        labels: [n] int64.
    """

    pixels: Tensor
    labels: Tensor
    _optimizer: Optimizer
    _bounds: tuple[Tensor, Tensor] | None = None

    def bound(self, pixel_range: float | None, train: ImageDataset) -> None:
        """Keep pixels near those of real images from now on: see :attr:`MethodConfig.pixel_range`."""
        if pixel_range is None:
            return
        low, high = train.images.amin((0, 2, 3), keepdim=True), train.images.amax((0, 2, 3), keepdim=True)
        margin = pixel_range * (high - low)
        self._bounds = (low - margin, high + margin)

    def progress(self, iteration: int, losses: Mapping[str, Tensor] | None = None) -> Progress:
        """A report without an update."""
        return Progress(iteration, losses or {}, self._snapshot)

    @abstractmethod
    def _snapshot(self) -> SyntheticSet:
        """A copy of the current state."""

    def _move(self, losses: Mapping[str, Tensor], iteration: int) -> None:
        """Step along the gradients; DivergedError for losses or pixels that no sensible setting gives."""
        for name, loss in losses.items():
            if not bool(loss.isfinite()):
                raise DivergedError(name, iteration)
        self._optimizer.step()
        if self._bounds is not None:
            with torch.no_grad():
                self.pixels.clamp_(*self._bounds)
        largest = float(self.pixels.detach().abs().max())
        if not largest <= MAX_PIXEL:
            fault = f"is {largest:.3g}, beyond {MAX_PIXEL:g}," if math.isfinite(largest) else "is not finite"
            raise DivergedError("the largest pixel", iteration, fault)
