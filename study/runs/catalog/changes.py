"""Changes to registered versions that a user asks for: ``best`` by the rule, and deletion."""

from __future__ import annotations

from typing import Any

from study.core.errors import ConfigError
from study.runs.context.stores import StoreOptions
from study.runs.registration.promotion import compare_with_holder, find_holder, make_best
from study.tracking.base import RegisteredSet, Tracker
from study.tracking.open import open_tracker
from study.tracking.references import BEST, parse_reference


def promote_set(reference: str, reason: str | None, force: bool, stores: StoreOptions) -> dict[str, Any]:
    """Point ``best`` at a version if the rule allows it, or if forced with a reason.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: no version is named, the rule is against it, or ``force`` comes without a reason.
    """
    if force and not (reason or "").strip():
        raise ConfigError("--force needs --reason TEXT, which is recorded with the version")
    tracker, version = _named(reference, stores)
    holder = find_holder(tracker, version.name)
    if holder is not None and holder.version == version.version:
        raise ConfigError(f"{reference} is {BEST} already")
    allowed, note = compare_with_holder(version.tags, holder)
    if not allowed and not force:
        raise ConfigError(f"{reference} does not become {BEST}: {note}; --force --reason TEXT overrules that")
    tags = make_best(tracker, version, (reason or "").strip() or note, "" if allowed else note)
    before = None if holder is None else f"{holder.name}/{holder.version}"
    return {"set": f"{version.name}/{version.version}", "before": before, "forced": not allowed, **tags}


def delete_set(reference: str, force: bool, dry_run: bool, stores: StoreOptions) -> dict[str, Any]:
    """Delete a version and those of its files that no other version shares.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: no version is named, or it is ``best`` and ``force`` is not given.
    """
    tracker, version = _named(reference, stores)
    if BEST in version.aliases and not force:
        raise ConfigError(
            f"{reference} is {BEST} of its name; promote another version first, or give --force"
        )
    shown = {"set": f"{version.name}/{version.version}", "aliases": list(version.aliases)}
    if dry_run:
        return {**shown, "deleted": False, "files_deleted": False}
    return {**shown, "deleted": True, "files_deleted": tracker.delete_set(version)}


def _named(reference: str, stores: StoreOptions) -> tuple[Tracker, RegisteredSet]:
    """The version that is meant, which has to be named: an alias may have moved since the user looked."""
    if parse_reference(reference).version is None:
        raise ConfigError(f"{reference!r} names no version: write NAME/VERSION; `study sets list` shows all")
    tracker = open_tracker(stores.tracking_uri, stores.root, create=False)
    return tracker, tracker.resolve_set(reference)
