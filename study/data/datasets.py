"""The table of real datasets; each file of this package that holds one enters it here."""

from __future__ import annotations

from study.core.errors import UnknownNameError
from study.core.plugins import Registry
from study.data.source import DatasetSpec

DATASETS: Registry[DatasetSpec] = Registry("dataset", "study.data", "study.datasets")
"""Every real dataset by name, those of installed plug-ins included."""

_REFUSED: dict[str, str] = {}


def register(spec: DatasetSpec) -> DatasetSpec:
    """Enter a dataset, from a file of this package or a module behind an entry point of ``study.datasets``.

    Raises:
        ConfigError: another module has taken the name.
    """
    load = getattr(spec.load, "func", spec.load)
    DATASETS.register(spec.name, spec, load.__module__)
    return spec


def refuse(name: str, reason: str) -> None:
    """Say why a dataset that people will ask for by this name is not offered."""
    _REFUSED[name] = reason


def find_dataset(name: str) -> DatasetSpec:
    """The dataset of that name.

    Raises:
        UnknownNameError: there is none; the message lists them all, or says why this one is not offered.
        ConfigError: a plug-in cannot be loaded.
    """
    if name not in DATASETS and name in _REFUSED:
        raise UnknownNameError(f"dataset {name!r} is not offered: {_REFUSED[name]}")
    return DATASETS.find(name)
