"""Registered versions as the registry lists them; nothing here reads a file of a set, so it is quick."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from study.runs.context.stores import StoreOptions, open_reading
from study.tracking.base import RegisteredSet
from study.tracking.glance import glance_at_sets
from study.tracking.stores import locate


def list_sets(stores: StoreOptions, name: str | None = None) -> list[dict[str, Any]]:
    """Every registered version (of a name), newest first; none where the embedded store does not exist yet."""
    entries = glance_at_sets(locate(stores.tracking_uri, stores.root))
    if entries is None:
        tracker = open_reading(stores)
        entries = [] if tracker is None else tracker.list_sets()
    return [plain_version(entry) for entry in entries if name in (None, entry.name)]


def plain_version(entry: RegisteredSet) -> dict[str, Any]:
    """One version as plain values."""
    created = datetime.fromtimestamp(entry.created, UTC).isoformat(timespec="seconds")
    return {**asdict(entry), "aliases": list(entry.aliases), "tags": dict(entry.tags), "created": created}
