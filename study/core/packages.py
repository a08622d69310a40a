"""Packages that can be called: ``study.methods()`` lists what ``study.methods`` holds."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that answers a call with the public function of its name."""

    _home: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = getattr(importlib.import_module(self._home), self.__name__.rpartition(".")[2])
        return function(*args, **kwargs)


def make_callable(package: str, home: str) -> None:
    """Let an imported package be called; module ``home`` defines the function of the same last name.

    The import system puts a package where the function of its name stands, so ``study.methods()`` would fail once
    ``study.methods.dm`` is imported.
    """
    module = sys.modules[package]
    module.__class__ = _CallablePackage
    module._home = home  # type: ignore[attr-defined]
