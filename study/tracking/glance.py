"""What an embedded store holds, read from its database without MLflow, whose import alone takes a second or two.

Only for names and listings; whatever looks strange is left to MLflow. A test keeps both answers the same.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from study.tracking.base import MODEL_TYPE, SET_KIND_TAG, RegisteredSet
from study.tracking.stores import StoreLocation, check_moved

SECONDS = 2.0
"""How long a writer is waited for."""
_DELETED = "Deleted_Internal"
"""Stage of a version that MLflow keeps as a row without content."""

_VERSIONS = """
SELECT v.name, v.version, v.run_id, v.creation_time FROM model_versions v
JOIN registered_model_tags t ON t.name = v.name AND t.key = ? AND t.value = ?
WHERE v.current_stage IS NULL OR v.current_stage != ?
"""
_SEARCHES = """
SELECT n.value FROM tags n JOIN runs r ON r.run_uuid = n.run_uuid
JOIN tags k ON k.run_uuid = n.run_uuid AND k.key = 'study.kind' AND k.value = 'search'
WHERE n.key = 'study.search' AND r.lifecycle_stage = 'active' ORDER BY r.start_time DESC
"""


def glance_at_sets(location: StoreLocation) -> list[RegisteredSet] | None:
    """Every version of every registered set, newest first; None where only MLflow can tell.

    Raises:
        TrackingError: the store was moved, or is none of ours.
    """
    if location.database is None or not location.database.is_file():
        return None
    check_moved(location)
    try:
        with contextlib.closing(_open(location.database)) as connection:
            rows = connection.execute(_VERSIONS, (SET_KIND_TAG, MODEL_TYPE, _DELETED)).fetchall()
            tags: dict[tuple[str, int], dict[str, str]] = {}
            for name, version, key, value in connection.execute(
                "SELECT name, version, key, value FROM model_version_tags"
            ):
                tags.setdefault((name, version), {})[key] = value
            aliases: dict[tuple[str, int], list[str]] = {}
            for name, version, alias in connection.execute(
                "SELECT name, version, alias FROM registered_model_aliases"
            ):
                aliases.setdefault((name, version), []).append(alias)
    except sqlite3.Error:
        return None
    entries = [
        RegisteredSet(name, str(version), tuple(sorted(aliases.get((name, version), ()))),
                      tags.get((name, version), {}), run_id or "", created / 1000)
        for name, version, run_id, created in rows
    ]  # fmt: skip
    return sorted(entries, key=lambda entry: (entry.created, int(entry.version)), reverse=True)


def glance_at_searches(location: StoreLocation) -> list[str]:
    """Names of searches, newest first; none where only MLflow can tell."""
    if location.database is None or not location.database.is_file():
        return []
    try:
        with contextlib.closing(_open(location.database)) as connection:
            return list(dict.fromkeys(name for (name,) in connection.execute(_SEARCHES)))
    except sqlite3.Error:
        return []


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=SECONDS)
