"""Mending an embedded store: paths after a move, runs whose process is gone, sets checked by hash."""

from __future__ import annotations

from typing import Any

from study.core.errors import ConfigError
from study.runs.catalog.sets import verify_sets
from study.runs.context.stores import StoreOptions
from study.tracking.moves import repoint
from study.tracking.stores import locate


def repair(stores: StoreOptions) -> dict[str, Any]:
    """Record where a moved store lies now, and check every registered set.

    Raises:
        ConfigError: the store is behind a server or in no file, so nothing can be moved.
        TrackingError: there is no store, or it is not ours.
    """
    location = locate(stores.tracking_uri, stores.root)
    if location.database is None:
        raise ConfigError(f"{location.shown} is no embedded store; repair it where its server runs")
    if not location.database.is_file():
        raise ConfigError(f"there is no tracking store at {location.database}; give --tracking-uri")
    moved = repoint(location.database)
    verdicts = verify_sets((), stores)
    return {
        "store": str(location.database),
        "moved_from": None if moved is None else str(moved[0]),
        "backup": None if moved is None else str(moved[1]),
        "changed": {} if moved is None else moved[2],
        "sets": verdicts,
        "whole": all(verdict["whole"] for verdict in verdicts),
    }
