"""Tables of things that register themselves: files of this package, and plug-ins of other packages."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from study.core.errors import ConfigError, unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Everything of one kind by name, in alphabetical order.

    The first look imports every module of a package and every entry point of a group, once a process and
    whichever thread looks first; importing them calls :meth:`register`.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        """Name what is kept; nothing is imported yet.

        Args:
            kind: of the items, in the singular, such as ``dataset``.
            package: whose modules register what ships with study.
            group: of the entry points of other packages.
        """
        self._kind = kind
        self._package = package
        self._group = group
        self._items: dict[str, tuple[T, str]] = {}
        self._lock = threading.RLock()
        self._is_scanned = False

    def register(self, name: str, item: T, origin: str) -> None:
        """Enter an item under the name that users write; ``origin`` is the module that defines it.

        Raises:
            ConfigError: another module has taken the name.
        """
        # Takes no lock: a thread that scans may be waiting for the import this is called from.
        known = self._items.get(name)
        if known is not None and known[1] != origin:
            raise ConfigError(f"{self._kind} {name!r} is defined by both {known[1]} and {origin}; rename one")
        self._items[name] = (item, origin)

    def find(self, name: str) -> T:
        """The item of that name.

        Raises:
            UnknownNameError: there is none; the message lists them all.
            ConfigError: a plug-in cannot be loaded.
        """
        if name not in self:
            raise unknown_name(self._kind, name, self)
        return self[name]

    def __getitem__(self, name: str) -> T:
        self._scan()
        return self._items[name][0]

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._items))

    def __len__(self) -> int:
        self._scan()
        return len(self._items)

    def _scan(self) -> None:
        with self._lock:
            if self._is_scanned:
                return
            package = importlib.import_module(self._package)
            for module in pkgutil.walk_packages(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
            for entry in sorted(entry_points(group=self._group)):
                self._load(entry)
            self._is_scanned = True

    def _load(self, entry: EntryPoint) -> None:
        try:
            entry.load()
        except Exception as error:
            owner = "an unknown distribution" if entry.dist is None else entry.dist.name
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"{self._kind} plug-in {entry.name!r} ({entry.value}) of {owner} cannot be loaded: "
                f"{type(error).__name__}: {reason}; mend or uninstall {owner}"
            ) from error
