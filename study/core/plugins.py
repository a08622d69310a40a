"""Plug-ins: modules of a package and entry points of other packages, imported once a process."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from functools import cache
from importlib.metadata import entry_points

from study.core.errors import ConfigError

__all__ = ["load_plugins"]

_LOCK = threading.RLock()


def load_plugins(package: str) -> None:
    """Import every module of a package and every entry point of the group of that name, once a process.

    Args:
        package: such as ``study.methods``; threads may call this at the same time.

    Raises:
        ConfigError: an entry point cannot be loaded; the message names it and its distribution.
    """
    with _LOCK:
        _load(package)


@cache
def _load(package: str) -> None:
    parent = importlib.import_module(package)
    for module in pkgutil.walk_packages(parent.__path__, f"{package}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=package):
        try:
            entry.load()
        except Exception as error:
            owner = "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
            raise ConfigError(
                f"entry point '{entry.name} = {entry.value}' ({package}) of {owner} cannot be loaded: "
                f"{type(error).__name__}: {error}; repair or uninstall {owner}"
            ) from error
