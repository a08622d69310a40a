"""Images that are too large for a budget: the warning, and the size that keeps to it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from study.core.config import set_path
from study.data.datasets import find_dataset
from study.data.extent import Extent, extent
from study.data.splits import resolve_data_root
from study.models.work import nominal_seconds
from study.runs.config.configure import Request, RunConfig, configure
from study.runs.config.counting import DataSize, iteration_seconds, score_loads
from study.runs.config.sizing import fit

OVERSIZE = 2.0
"""How far over its limit a trial or a score is worth a warning, and a smaller image."""
SIDES = (192, 128, 96, 64, 48, 32)
"""Pixels a side that may be the remedy."""
KEY = "data.resolution"


def with_fitting_side(request: Request, data_root: Path | None) -> Request:
    """The request at the largest size of its images that keeps to its budget, of their own and :data:`SIDES`.

    Images are counted and their headers read, none is decoded. Where they differ in size, their own size is that
    of the smallest one. Without a size that keeps to the budget it is the smallest.

    Raises:
        MissingDataError: the data is not there.
        DataError: a file is broken.
    """
    found = extent(find_dataset(request.dataset), resolve_data_root(data_root))
    own = min(found.height, found.width)
    size = f"{found.height} x {found.width}"
    if found.one_size and _keeps(request, found, None):
        reason = f"that of the files, {size}, which keeps to the budget"
        return _with(request, None, reason)
    smaller = [side for side in SIDES if side < own or (side == own and not found.one_size)] or [own]
    fitting = (side for side in smaller if _keeps(request, found, side))
    side = next(fitting, None)
    of = f"files of {size}" if found.one_size else f"files from {size} on"
    rule = f"of {', '.join(map(str, smaller))}, for {of}, with which a trial and a score keep to the budget"
    reason = f"the smallest; there is none {rule}" if side is None else f"the largest {rule}"
    return _with(request, smaller[-1] if side is None else side, reason)


def oversize(config: RunConfig, data: DataSize) -> str | None:
    """A warning where even the smallest sizes take far longer than the budget means, with the remedy; else None."""
    if (found := _excess(config, data)) is None:
        return None
    channels, height, width = data.image_shape
    smaller = (side for side in SIDES if side < min(height, width))
    fitting = (
        side for side in smaller if _excess(config, replace(data, image_shape=(channels, side, side))) is None
    )
    remedy = next(fitting, None)
    return (
        f"{found} on images of {height} x {width}, even at the sizes chosen; "
        f"smaller ones are quicker (--resolution {remedy or SIDES[-1]})"
    )


def _with(request: Request, side: int | None, reason: str) -> Request:
    tree = set_path(request.overrides, KEY, side) if side is not None else request.overrides
    chosen = {KEY: f"{'none' if side is None else side}: {reason}"}
    return replace(request, overrides=set_path(tree, "work.chosen", chosen))


def _keeps(request: Request, found: Extent, side: int | None) -> bool:
    """Whether a search at that size keeps to the budget."""
    asked = request if side is None else replace(request, overrides=set_path(request.overrides, KEY, side))
    config = configure(asked)
    shape = (found.height, found.width) if side is None else (side, side)
    held = config.data.validation_fraction
    counts = tuple(max(1, round(count * (1 - held))) for count in found.class_counts)
    data = DataSize((found.num_channels, *shape), counts, max(1, round(sum(found.class_counts) * held)))
    return _excess(fit(config, data), data) is None


def _excess(config: RunConfig, data: DataSize) -> str | None:
    """What takes how much longer than it may, in words; None where nothing does."""
    room = config.work.trial_seconds
    if room is None:
        return None
    parts = {
        "a trial": (iteration_seconds(config, data) * config.distill.num_iterations, room),
        "one score": (nominal_seconds(score_loads(config, data)), config.work.score_seconds or math.inf),
    }
    name, (seconds, limit) = max(parts.items(), key=lambda item: item[1][0] / item[1][1])
    if seconds <= OVERSIZE * limit:
        return None
    return f"{name} takes {seconds:.0f} s of counted work, where budget {config.budget!r} means {limit:g} s,"
