"""Tables that fill themselves: things by name, from modules of this package and from entry points of others."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Generic, TypeVar

from study.core.errors import ConfigError, StudyError, unknown_name

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name; each enters itself when its module is imported.

    Modules and entry points are scanned once a process, on the first look.

    Attributes:
        kind: what the things are, in the singular, for messages.
        package: every module below it is imported.
        group: of the entry points by which other packages add theirs.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind, self.package, self.group = kind, package, group
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}
        self._lock = threading.RLock()
        self._scanned = False

    def add(self, name: str, thing: T, home: str) -> None:
        """Enter a thing under a name.

        Args:
            name: as users write it.
            thing: what :meth:`find` gives.
            home: where it is defined; the same home may enter its thing again.

        Raises:
            ConfigError: another home has taken the name.
        """
        with self._lock:
            if self._homes.setdefault(name, home) != home:
                raise ConfigError(f"{self.kind} {name!r} is defined by both {self._homes[name]} and {home}")
            self._things[name] = thing

    def all(self) -> Mapping[str, T]:
        """Every thing by name, in the order of names.

        Raises:
            ConfigError: another package's entry point cannot be loaded.
        """
        with self._lock:
            if not self._scanned:
                self._scan()
                self._scanned = True
            return MappingProxyType(dict(sorted(self._things.items())))

    def find(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UnknownNameError: there is none; the message lists them all.
        """
        things = self.all()
        if name not in things:
            raise unknown_name(self.kind, name, things)
        return things[name]

    def _scan(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
        for entry in entry_points(group=self.group):
            try:
                entry.load()
            except StudyError:
                raise
            except Exception as error:
                owner = f" of {entry.dist.name}" if entry.dist else ""
                raise ConfigError(
                    f"entry point {entry.name} = {entry.value}{owner} (group {self.group}) cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
