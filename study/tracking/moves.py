"""Embedded stores that were moved: MLflow keeps absolute paths, so a moved store would write into its old place."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from study.core.errors import TrackingError

_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns of MLflow's tables that hold where files lie."""


def recorded_root(database: Path) -> Path | None:
    """The folder that a store says it lies in, where that is not its own; None if it was not moved.

    Only experiments whose files lie in ``FOLDER/artifacts/NAME``, as ours do, tell; others may lie where they like.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        if not _has(connection, "experiments", "artifact_location"):
            return None
        rows = connection.execute(
            "SELECT name, artifact_location FROM experiments WHERE experiment_id != 0"
        ).fetchall()
    roots = Counter(root for name, place in rows if (root := _root_of(name, place)) is not None)
    here = database.parent.resolve()
    away = [root for root, _ in roots.most_common() if root.resolve() != here]
    return away[0] if away else None


def check_place(database: Path) -> None:
    """Refuse a store that was moved, before anything is written into its old place.

    Raises:
        TrackingError: its files are recorded in another folder; both are named.
    """
    if old := recorded_root(database):
        raise TrackingError(
            f"the store was moved from {old} to {database.parent}: its files are still recorded in the old place; "
            f"run: study repair --tracking-uri {database.parent if database.name == 'mlflow.db' else f'sqlite:///{database}'}"
        )


def repoint(database: Path) -> tuple[Path, Path, dict[str, int]] | None:
    """Record where a moved store lies now, all of it or nothing, after a copy of the database.

    Returns:
        The old folder, the copy, and how many rows of each table changed; None where nothing was moved.
    """
    old = recorded_root(database)
    if old is None:
        return None
    copy, here = back_up(database), database.parent
    changed: dict[str, int] = {}
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        for table, columns in _PLACES.items():
            for column in columns:
                if not _has(connection, table, column):
                    continue
                for before, after in ((old.as_uri(), here.as_uri()), (str(old), str(here))):
                    done = connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                        (f"{after}/", len(before) + 2, len(before) + 1, f"{before}/"),
                    )
                    changed[table] = changed.get(table, 0) + done.rowcount
    return old, copy, changed


def back_up(database: Path) -> Path:
    """A whole copy of a database beside it, also while others write; gives its path."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    copy = database.with_name(f"{database.name}.backup-{stamp}")
    partial = copy.with_name(f"{copy.name}.part")
    with (
        contextlib.closing(sqlite3.connect(database, timeout=20)) as source,
        contextlib.closing(sqlite3.connect(partial)) as target,
    ):
        source.backup(target)
    partial.replace(copy)
    return copy


def _root_of(name: str, place: str | None) -> Path | None:
    """``FOLDER`` of ``FOLDER/artifacts/NAME``, a path or a file URI."""
    parts = urlsplit(place or "")
    if parts.scheme not in {"", "file"} or not place:
        return None
    path = Path(unquote(parts.path) if parts.scheme else place)
    ours = path.is_absolute() and path.name == name and path.parent.name == "artifacts"
    return path.parent.parent if ours else None


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
