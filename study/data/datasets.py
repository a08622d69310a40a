"""The table of real datasets; each file of this package that holds one enters it here."""

from __future__ import annotations

from study.core.plugins import Registry
from study.data.source import DatasetSpec

DATASETS: Registry[DatasetSpec] = Registry("dataset", "study.data", "study.datasets")
"""Every real dataset by name, those of installed plug-ins included."""


def register(spec: DatasetSpec) -> DatasetSpec:
    """Enter a dataset, from a file of this package or a module behind an entry point of ``study.datasets``.

    Raises:
        ConfigError: another module has taken the name.
    """
    load = getattr(spec.load, "func", spec.load)
    DATASETS.register(spec.name, spec, load.__module__)
    return spec


def find_dataset(name: str) -> DatasetSpec:
    """The dataset of that name; errors are those of :meth:`study.core.plugins.Registry.find`."""
    return DATASETS.find(name)
