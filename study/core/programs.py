"""Compiled programs, kept from one use to the next: trials of a search differ in numbers, not in shapes."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Generic, TypeVar

from study.core.errors import ConfigError

T = TypeVar("T")
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


def go_on_plain(error: RuntimeError, *, demanded: bool) -> None:
    """Warn that the compiler failed and plain programs do the work.

    Raises:
        ConfigError: compilation was demanded.
    """
    if demanded:
        raise ConfigError(f"compute.compile = 'on', but compiling failed: {error}") from error
    _log.warning("compiling failed, going on without: %s", str(error).partition("\n")[0])
