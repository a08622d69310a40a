"""Signs that a method has run away: losses and pixels that no sensible setting gives."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from study.core.errors import DivergedError

MAX_PIXEL = 1e4
"""Normalised pixels lie within ±10; instance norm hides the size of an image, so a runaway learning rate
blows images up long before any loss becomes infinite."""


def check_pixels(pixels: Tensor, iteration: int) -> None:
    """Refuse images [n, C, H, W] of which a pixel has left every sensible range.

    Raises:
        DivergedError: a pixel is not finite, or beyond :data:`MAX_PIXEL`.
    """
    largest = float(pixels.detach().abs().max())
    if not largest <= MAX_PIXEL:
        fault = f"is {largest:.3g}, beyond {MAX_PIXEL:g}," if math.isfinite(largest) else "is not finite"
        raise DivergedError("the largest pixel", iteration, fault)


def check_losses(losses: Mapping[str, Tensor], iteration: int) -> None:
    """Refuse losses, scalars by name, of which one is not finite.

    Raises:
        DivergedError: names that loss.
    """
    for name, loss in losses.items():
        if not bool(loss.isfinite()):
            raise DivergedError(name, iteration)
