"""Compiled programs, kept from one use to the next, and from one process to the next.

Trials of a search differ in numbers, not in shapes. Whether a program is compiled is decided elsewhere, by counted work
alone: were it to depend on what is kept here, two runs of one command would differ in their last bits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, cast

import torch

from study.core.errors import ConfigError
from study.core.files import cache_folder

T = TypeVar("T")
P = TypeVar("P", bound=Callable[..., Any])
INDUCTOR_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable that names the compiler's folder; the compiler of GPU code keeps its own below it."""

_log = logging.getLogger(__name__)


class ProgramCache(Generic[T]):
    """The programs that were used last.

    Attributes:
        lock: held while a shared cache is read or filled.
    """

    def __init__(self, size: int, *, shared: bool = False) -> None:
        """Start out empty, to keep ``size`` programs: for all threads if shared, since they hold only code, or each."""
        self.lock = threading.RLock()
        self._size, self._shared = size, shared
        self._place = SimpleNamespace() if shared else threading.local()

    def get(self, key: Hashable, build: Callable[[], T]) -> T:
        """The program of a key, built where it is not there."""
        with self.lock if self._shared else contextlib.nullcontext():
            programs = self._programs
            if key not in programs:
                programs[key] = build()
            programs.move_to_end(key)
            while len(programs) > self._size:
                programs.popitem(last=False)
            return programs[key]

    def forget(self, key: Hashable) -> None:
        """Drop a program that turned out to be broken."""
        self._programs.pop(key, None)

    @property
    def _programs(self) -> OrderedDict[Hashable, T]:
        programs: OrderedDict[Hashable, T] = vars(self._place).setdefault("programs", OrderedDict())
        return programs


def compile_fixed(program: P) -> P:
    """``torch.compile`` for inputs that never change size; what it makes is kept in our cache folder.

    A folder that ``TORCHINDUCTOR_CACHE_DIR`` names is used in its place, and torch's own where ours cannot be written.
    """
    # Torch reads the variable whenever a program is first run, and sets it to its own place as soon as its compiler is
    # imported, which building an optimiser does.
    torchs_own = os.path.join(tempfile.gettempdir(), "torchinductor_")
    if os.environ.get(INDUCTOR_FOLDER, torchs_own).startswith(torchs_own):
        folder = cache_folder() / "compiled"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                os.environ[INDUCTOR_FOLDER] = str(folder)
    return cast(P, torch.compile(program, dynamic=False))


def go_on_plain(error: RuntimeError, *, demanded: bool) -> None:
    """Warn that the compiler failed and plain programs do the work.

    Raises:
        ConfigError: compilation was demanded.
    """
    if demanded:
        raise ConfigError(f"compute.compile = 'on', but compiling failed: {error}") from error
    _log.warning("compiling failed, going on without: %s", str(error).partition("\n")[0])
