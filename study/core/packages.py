"""Packages that can be called: ``study.methods()`` lists what ``study.methods`` holds."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


class _CallablePackage(ModuleType):
    """A module that answers a call with the function of its name in :mod:`study.api`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call that function."""
        function = getattr(importlib.import_module("study.api"), self.__name__.rpartition(".")[2])
        return function(*args, **kwargs)


def make_callable(name: str) -> None:
    """Let an imported package be called, since the import system puts it where the function would stand."""
    sys.modules[name].__class__ = _CallablePackage
