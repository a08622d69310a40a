"""Names to complete in a shell: found within a fraction of a second, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import study
from study.core.files import cache_folder, replace_file
from study.runs.context.stores import StoreOptions
from study.tracking.glance import glance_at_searches, glance_at_sets
from study.tracking.references import BEST
from study.tracking.stores import StoreLocation, locate


def set_names(stores: StoreOptions) -> list[str]:
    """References to registered sets of an embedded store, the ``best`` first."""
    entries = glance_at_sets(_location(stores)) or []
    best = [f"{entry.name}@{BEST}" for entry in entries if BEST in entry.aliases]
    return [*best, *(f"{entry.name}/{entry.version}" for entry in entries)]


def search_names(stores: StoreOptions) -> list[str]:
    """Names of the searches of an embedded store, newest first."""
    return glance_at_searches(_location(stores))


def method_names() -> list[str]:
    """Names of the methods, plug-ins included."""
    return _kept("methods", "methods", _find_methods)


def dataset_names() -> list[str]:
    """Names of the datasets, plug-ins included."""
    return _kept("datasets", "data", _find_datasets)


def _location(stores: StoreOptions) -> StoreLocation:
    return locate(stores.tracking_uri, stores.root)


def _find_methods() -> list[str]:
    from study.methods.base import METHODS

    return list(METHODS)


def _find_datasets() -> list[str]:
    from study.data.datasets import DATASETS

    return list(DATASETS)


def _kept(kind: str, package: str, find: Callable[[], list[str]]) -> list[str]:
    """Names that take seconds to find, kept until the package or what is installed beside it changes."""
    from importlib.metadata import entry_points

    folder = Path(study.__file__).parent / package
    mark = [
        study.__version__,
        str(folder),
        sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*.py")),
        sorted(str(entry) for entry in entry_points(group=f"study.{kind}")),
    ]
    path = cache_folder() / "names" / f"{kind}.json"
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["mark"] == json.loads(json.dumps(mark)):
            return [str(name) for name in kept["names"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or written by something else: found anew
    names = find()
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps({"mark": mark, "names": names}), encoding="utf-8")
    return names
