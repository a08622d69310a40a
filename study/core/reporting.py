"""How far long work has come: whoever does it counts, whoever watches listens, and neither knows the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

Listener = Callable[[str, float, int], None]
"""Gets what is done, in words, the units of it done so far, and those to do in all; work ends with both equal."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@dataclass
class _Work:
    what: str
    total: int
    listener: Listener
    done: float = 0.0


_work: ContextVar[_Work | None] = ContextVar("work", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener of all work that this thread does within the block; other threads are silent."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def work(what: str, total: int) -> Iterator[None]:
    """A block of work of so many units, which :func:`advance` counts.

    A block inside of another counts towards that one, so both are to have the same unit, such as a network.

    Example:
        >>> with listening(print), work("training networks", 2):
        ...     advance()
        training networks 0.0 2
        training networks 1.0 2
        training networks 2.0 2
    """
    listener = _listener.get()
    if listener is None or _work.get() is not None:
        yield
        return
    current = _Work(what, total, listener)
    token = _work.set(current)
    listener(what, 0.0, total)
    try:
        yield
    finally:
        _work.reset(token)
        listener(what, float(total), total)


def advance(units: float = 1.0) -> None:
    """Count units of the work at hand as done; without a listener this does nothing."""
    current = _work.get()
    if current is not None:
        current.done = min(current.done + units, float(current.total))
        current.listener(current.what, current.done, current.total)
