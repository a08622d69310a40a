"""The one rule by which a registered version becomes ``best``, and the record of why it did."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from study.core.words import percent
from study.tracking.base import RegisteredSet, Tracker
from study.tracking.provenance import user_name
from study.tracking.references import BEST

FIT = "yes"
"""What the tag ``fit`` says of a set that may be ``best``; of another it says ``no:`` and why."""


def find_holder(tracker: Tracker, name: str) -> RegisteredSet | None:
    """The version of a name that is ``best``, if one is."""
    return next((version for version in tracker.list_sets(name) if BEST in version.aliases), None)


def compare_with_holder(tags: Mapping[str, str], holder: RegisteredSet | None) -> tuple[bool, str]:
    """Whether a version with these tags becomes ``best``, and why; only one that is fit does.

    Example:
        >>> compare_with_holder({"fit": "no: it is blank"}, None)
        (False, 'not fit to be best, since it is blank; no set is best')
    """
    if (fit := tags.get("fit")) != FIT:
        stays = f"no set is {BEST}" if holder is None else f"version {holder.version} stays {BEST}"
        if fit is None:
            return False, f"nobody judged whether it is fit to be {BEST}; {stays}"
        return False, f"not fit to be {BEST}, since {fit.removeprefix('no: ')}; {stays}"
    if holder is None:
        return True, f"first of its name that is fit, so the alias {BEST} points at it"
    if holder.tags.get("fingerprint") != tags.get("fingerprint"):
        return True, f"version {holder.version} was made from other data, so the alias {BEST} moves here"
    score, known = (float(each.get("val_accuracy", "nan")) for each in (tags, holder.tags))
    if score > known:
        return (
            True,
            f"beats version {holder.version} on validation, {percent(known)}: the alias {BEST} moves here",
        )
    return False, f"version {holder.version} stays {BEST} with {percent(known)} on validation"


def make_best(tracker: Tracker, version: RegisteredSet, reason: str, against: str = "") -> dict[str, str]:
    """Point ``best`` at a version, with reason, user and time as its tags.

    Args:
        tracker: the store.
        version: to be ``best``.
        reason: why.
        against: what the rule said, where it was overruled.

    Returns:
        The tags.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # An earlier promotion's tag must not outlive a later one, so it is written even where it is empty.
    tags = {
        "promoted_reason": reason,
        "promoted_by": user_name(),
        "promoted_at": now,
        "promoted_against": against,
    }
    # The reason first: an alias without one must not be, even where the store fails in between.
    tracker.tag_set(version, tags)
    tracker.set_alias(version.name, BEST, version.version)
    return tags
