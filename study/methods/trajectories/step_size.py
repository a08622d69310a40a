"""The step size to begin with: the one with which students on the starting images come nearest to the experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from study.core.reporting import advance, work

STEP_SIZES = tuple(round(10 ** (exponent / 3), 6) for exponent in range(-10, -2))
"""The candidates, three a decade: from 0.000464, which a few images of much contrast need, to 0.1."""

NUM_STUDENTS = 3
"""Students that try each candidate; the loss of one depends on where its expert stood."""


def nearest_step_size(losses: Callable[[float], Sequence[Tensor]]) -> float:
    """The candidate with the smallest mean loss, where losses that are not finite count as infinite.

    From a small step size the loss falls from 1, a student that does not move, to its minimum, and beyond it
    students overshoot. So candidates are tried upwards until the loss has risen twice, or above 1.

    >>> import torch
    >>> nearest_step_size(lambda size: [torch.tensor((size - 0.01) ** 2)])
    0.01
    """
    best, least, risen = STEP_SIZES[0], float("inf"), 0
    with work("trying step sizes", len(STEP_SIZES)):
        for size in STEP_SIZES:
            mean = float(torch.stack(list(losses(size))).double().mean())
            advance()
            if mean < least:
                best, least, risen = size, mean, 0
            else:
                risen += 1
            if risen == 2 or not mean <= 1:
                break
    return best
