"""A lock that many processes may share, on every system: a lock file for each holder, and a gate before them.

Locks belong to the system and end with the process that held them. Every function raises ``OSError`` where the
folder is there and cannot be written.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

GATE = "gate.lock"


def share(folder: Path) -> Callable[[], None]:
    """Hold a folder of locks together with others, as soon as nobody is :func:`alone`; gives what lets go again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.held"
    lock = FileLock(path, thread_local=False)
    with FileLock(folder / GATE):
        lock.acquire()

    def let_go() -> None:
        lock.release()
        path.unlink(missing_ok=True)

    return let_go


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the folder; as long as the block runs, nobody begins to."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / GATE):
        yield not any(_is_held(path) for path in folder.glob("*.held"))


def is_shared(folder: Path) -> bool:
    """Whether anybody holds the folder, this process included."""
    if not folder.exists():
        return False
    with alone(folder) as free:
        return not free


def _is_held(path: Path) -> bool:
    """Whether the process that made the file is still there; call it behind the gate."""
    try:
        with FileLock(path, timeout=0):
            pass
    except Timeout:
        return True
    path.unlink(missing_ok=True)  # left behind by a process that was killed
    return False
