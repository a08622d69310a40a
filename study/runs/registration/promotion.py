"""Which version the alias ``best`` points at: the one rule, and the record of every move.

A registered winner, and a version that a user promotes, ask the same question here.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime

from study.core.errors import ConfigError
from study.core.words import percent
from study.data.datasets import DATASETS
from study.tracking.base import RegisteredSet, Tracker
from study.tracking.references import BEST

WHO, WHEN, WHY, BEFORE, FORCED = (f"promoted.{word}" for word in ("by", "at", "reason", "before", "forced"))
"""Tags of a version that was made ``best``: user, time, reason, the holder before it, what was overruled."""


def may_be_best(version: RegisteredSet, holder: RegisteredSet | None) -> tuple[bool, str]:
    """Whether a version may take the alias ``best`` from its holder, and why, by the tags of both.

    Only a set that is fit may (:mod:`study.runs.registration.fitness`). It has to beat the holder on validation where
    both are of the same real images. Where the images differ, old numbers say nothing about new ones, so it may; but
    not where the images are a user's own, since two folders of one name need have nothing in common.
    """
    fit = version.tags.get("fit", "yes")
    if fit != "yes":
        stays = f"no set is {BEST}" if holder is None else f"version {holder.version} stays {BEST}"
        return False, f"not fit to be {BEST}, since {fit.removeprefix('no: ')}; {stays}"
    if holder is None:
        return True, f"first of its name that is fit, so the alias {BEST} points at it"
    if holder.tags.get("fingerprint") != version.tags.get("fingerprint"):
        if is_users_own(version.tags.get("dataset", "")):
            return False, f"version {holder.version} was made from other images of your own and stays {BEST}"
        return True, f"version {holder.version} was made from other data, so the alias {BEST} moves here"
    known, mean = (float(one.tags.get("val_accuracy", "nan")) for one in (holder, version))
    if mean > known:
        return (
            True,
            f"beats version {holder.version} on validation, {percent(known)}: the alias {BEST} moves here",
        )
    return False, f"version {holder.version} stays {BEST} with {percent(known)} on validation"


def is_users_own(dataset: str) -> bool:
    """Whether the images of a dataset are whatever lies in the user's data root."""
    return dataset in DATASETS and DATASETS[dataset].users_own


def find_holder(tracker: Tracker, name: str) -> RegisteredSet | None:
    """The version that is ``best``, if one is."""
    return next((version for version in tracker.list_sets(name) if BEST in version.aliases), None)


def make_best(
    tracker: Tracker, version: RegisteredSet, holder: RegisteredSet | None, reason: str, overruled: str = ""
) -> None:
    """Move the alias ``best``, and write on the version who did it, when, why, and what was overruled."""
    tracker.tag_set(
        version,
        {
            WHO: _user(),
            WHEN: datetime.now(UTC).isoformat(timespec="seconds"),
            WHY: reason,
            BEFORE: "none" if holder is None else holder.version,
            FORCED: f"yes: {overruled}" if overruled else "no",
        },
    )
    tracker.set_alias(version.name, BEST, version.version)


def promote(tracker: Tracker, reference: str, reason: str = "", *, force: bool = False) -> str:
    """Make a version ``best`` by the rule, or in spite of it.

    Args:
        tracker: the store.
        reference: ``name/version`` or ``name@alias``.
        reason: why, in the user's words; recorded beside the rule's.
        force: overrule the rule, which takes a reason.

    Returns:
        Why it is ``best`` now.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: it is ``best`` already, the rule refuses it, or force comes without a reason.
    """
    version = tracker.resolve_set(reference)
    shown = f"{version.name}/{version.version}"
    if BEST in version.aliases:
        raise ConfigError(f"{shown} is {BEST} already; give another version as NAME/VERSION")
    if force and not reason.strip():
        raise ConfigError("--force needs --reason TEXT, which is recorded on the version")
    holder = find_holder(tracker, version.name)
    allowed, words = may_be_best(version, holder)
    if not allowed and not force:
        raise ConfigError(f"{shown} cannot be {BEST}: {words}; overrule it with --force --reason TEXT")
    given = reason.strip()
    make_best(tracker, version, holder, given or words, "" if allowed else words)
    return words if allowed else f"by force, although {words}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        return "unknown"
