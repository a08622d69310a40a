"""The loss of trajectory matching as a pure function: how far the student ends from the expert."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from study.core.errors import ConfigError, ShapeError

Drop = Literal["shallow", "low_loss"]


def num_discarded(num_parameters: int, discard_fraction: float) -> int:
    """Elements left out of the loss: ⌊fraction · D⌋, and at least one stays.

    Raises ConfigError for a fraction that is not in [0, 1).
    """
    if not 0 <= discard_fraction < 1:
        raise ConfigError(f"discard_fraction = {discard_fraction}: must be at least 0 and below 1")
    # (1 - 1/D) · D may come out a hair below D - 1.
    return min(math.floor(discard_fraction * num_parameters + 1e-6), num_parameters - 1)


def trajectory_matching_loss(
    end: Tensor, target: Tensor, start: Tensor, *, discard_fraction: float = 0.0, drop: Drop = "shallow"
) -> Tensor:
    """Squared distance of the student's end from the expert's, relative to the way the expert went.

    Args:
        end: [D], the student's parameters after its last step; gradient flows to them.
        target: [D], the expert's later snapshot.
        start: [D], the expert's snapshot both set out from.
        discard_fraction: share of the elements, in [0, 1), that are left out of both distances.
        drop: ``shallow`` leaves out the first elements of the vector, cutting through a layer where the
            count says so; ``low_loss`` those with the smallest squared error, chosen anew in each call.

    Gives a scalar >= 0, no unit: 1 for a student that did not move, 0 at the target; not finite where the
    expert did not move. Raises ShapeError for vectors that do not match, ConfigError for the fraction.

    Source: Cazenavette et al. 2022 (MTT), equation 2; discarding: Li et al. 2024 (PAD), paper and code.
    """
    if end.ndim != 1 or not end.shape == target.shape == start.shape:
        raise ShapeError(
            f"end, target and start have shapes {tuple(end.shape)}, {tuple(target.shape)} and "
            f"{tuple(start.shape)}; expected [D] three times"
        )
    discarded = num_discarded(len(end), discard_fraction)
    error, way = end - target, start - target
    if discarded and drop == "low_loss":
        kept = error.detach().abs().topk(len(end) - discarded, sorted=False).indices
        error, way = error[kept], way[kept]
    elif discarded:
        error, way = error[discarded:], way[discarded:]
    return error.square().sum() / way.square().sum()
