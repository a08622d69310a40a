"""Where a second goes: the wall time of a run in parts that exclude each other and add up to all of it."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

Part = Literal[
    "loading", "experts", "start", "distill", "rungs", "scores", "baselines", "cross", "finalists", "test",
    "tracking", "compiling", "other",
]  # fmt: skip
"""What a run spends its time on.

``experts``: everything that a method prepares, such as the difficulty of images. ``start``: until a method shows its
starting point, the search for a step size included. ``baselines``: random real images, and the learning rates
of other architectures, which are chosen by them. ``cross``: sets on other architectures. ``test``: the test set, and
the search for near copies. ``tracking``: stores, registry and figures. ``compiling``: taken out of whichever part
asked for it. ``other``: the rest.
"""
PARTS: tuple[Part, ...] = get_args(Part)

Split = Mapping[Part, float]
"""Seconds of every part, in the order of :data:`PARTS`."""


class Clock:
    """Counts the seconds of the thread that made it; work on other threads counts as the wait for it.

    Example:
        >>> clock = Clock()
        >>> with clock.part("tracking"), clock.part("test"):
        ...     time.sleep(0.01)  # the inner part alone
        >>> split = clock.split()
        >>> split["test"] >= 0.01 > split["tracking"]
        True
    """

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._part: Part = "other"
        self._thread = threading.get_ident()
        self._settled, self._compiled = time.perf_counter(), compile_seconds()

    @contextlib.contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """Count the time of a block, without that of parts inside of it."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._settle()
        outer, self._part = self._part, name
        try:
            yield
        finally:
            self._settle()
            self._part = outer

    def split(self) -> Split:
        """Seconds so far, by part."""
        self._settle()
        return dict(self._seconds)

    def since(self, earlier: Split) -> Split:
        """Seconds by part since an earlier :meth:`split`."""
        return {part: seconds - earlier[part] for part, seconds in self.split().items()}

    def _settle(self) -> None:
        """Give the time since the last call to the present part, and what the compiler took of it to ``compiling``."""
        now, compiled = time.perf_counter(), compile_seconds()
        passed = now - self._settled
        compiling = min(passed, max(0.0, compiled - self._compiled))
        self._seconds["compiling"] += compiling
        self._seconds[self._part] += passed - compiling
        self._settled, self._compiled = now, compiled


def compile_seconds() -> float:
    """Wall time that ``torch.compile`` has taken in this process so far; 0 where nothing was compiled."""
    # Looked up where it is loaded: importing the compiler takes seconds itself.
    utilities = sys.modules.get("torch._dynamo.utils")
    return 0.0 if utilities is None else float(utilities.calculate_time_spent()["total_wall_time"])


def cost_metrics(split: Split) -> dict[str, float]:
    """What a run records: ``cost/<part>_seconds`` of every part that took any time."""
    return {f"cost/{part}_seconds": seconds for part, seconds in split.items() if seconds > 0}
