"""Where results and real data are kept, as options that every command shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.tracking.base import Tracker
from study.tracking.open import DEFAULT_ROOT, open_tracker
from study.tracking.stores import locate


@dataclass(frozen=True)
class StoreOptions:
    """Addresses of the stores.

    Attributes:
        tracking_uri: MLflow store; by default ``MLFLOW_TRACKING_URI`` or ``mlflow.db`` below ``root``.
        storage: Optuna storage; by default ``optuna.db`` below ``root``.
        data_root: where real datasets lie.
        root: the embedded store.
    """

    tracking_uri: str | None = None
    storage: str | None = None
    data_root: Path | None = None
    root: Path = DEFAULT_ROOT


def open_tracking(options: StoreOptions, *, create: bool = True) -> Tracker:
    """Open the tracking store, making it if it is new unless told otherwise."""
    return open_tracker(options.tracking_uri, options.root, create=create)


def open_reading(options: StoreOptions) -> Tracker | None:
    """Open the tracking store to read from it; None where it does not exist yet."""
    database = locate(options.tracking_uri, options.root).database
    return None if database is not None and not database.exists() else open_tracking(options)


def open_search_storage(options: StoreOptions) -> Any:
    """Open the search storage, making it if it is new; hand it to :mod:`study.search` unopened."""
    # Imported here, since most commands that read a store have no use for Optuna.
    from study.search.storage import default_storage_url, open_storage

    return open_storage(options.storage or default_storage_url(options.root))
