"""SIGTERM, which schedulers send, taken like Ctrl-C: records are finished and what is done is kept."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM within the block; main thread only."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
