"""Registered versions as the registry lists them; nothing here reads a file of a set, so it is quick."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from study.core.errors import ConfigError
from study.runs.context.stores import StoreOptions, open_reading, open_tracking
from study.tracking.base import RegisteredSet
from study.tracking.glance import glance_at_sets
from study.tracking.references import BEST, parse_reference
from study.tracking.stores import locate


def list_sets(stores: StoreOptions, name: str | None = None) -> list[dict[str, Any]]:
    """Every registered version (of a name), newest first; none where the embedded store does not exist yet."""
    entries = glance_at_sets(locate(stores.tracking_uri, stores.root))
    if entries is None:
        tracker = open_reading(stores)
        entries = [] if tracker is None else tracker.list_sets()
    return [plain_version(entry) for entry in entries if name in (None, entry.name)]


def promote_set(
    reference: str, stores: StoreOptions, reason: str = "", *, force: bool = False
) -> dict[str, Any]:
    """Make a version ``best``, by the rule or in spite of it, and record who did so, when and why.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: the rule refuses it, it is ``best`` already, or force comes without a reason.
    """
    # Imported here, since the rule knows the datasets, which takes longer than listing.
    from study.runs.registration.promotion import promote

    tracker = open_tracking(stores, create=False)
    words = promote(tracker, reference, reason, force=force)
    version = tracker.resolve_set(f"{parse_reference(reference).name}@{BEST}")
    return {**plain_version(version), "rule": words}


def find_version(reference: str, stores: StoreOptions) -> dict[str, Any]:
    """The registered version behind a reference.

    Raises:
        UnknownSetError: there is no such version.
    """
    return plain_version(open_tracking(stores, create=False).resolve_set(reference))


def delete_set(reference: str, stores: StoreOptions, *, force: bool = False) -> dict[str, Any]:
    """Delete a version and its files for good; what its run keeps of it stays.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: it is ``best``, and that is not forced.
    """
    tracker = open_tracking(stores, create=False)
    version = tracker.resolve_set(reference)
    if BEST in version.aliases and not force:
        raise ConfigError(
            f"{version.name}/{version.version} is {BEST}; promote another version first, or delete it with --force"
        )
    tracker.delete_set(version)
    left = [entry.version for entry in tracker.list_sets(version.name)]
    return {**plain_version(version), "versions_left": left}


def plain_version(entry: RegisteredSet) -> dict[str, Any]:
    """One version as plain values."""
    created = datetime.fromtimestamp(entry.created, UTC).isoformat(timespec="seconds")
    return {**asdict(entry), "aliases": list(entry.aliases), "tags": dict(entry.tags), "created": created}
