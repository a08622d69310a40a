"""How a registered set is named: ``name``, ``name@alias`` or ``name/version``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from study.core.errors import ConfigError, UnknownSetError, suggestion
from study.tracking.base import RegisteredSet

BEST = "best"
"""The alias a bare name stands for."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Reference:
    """A parsed reference; at most one of ``alias`` and ``version`` is given."""

    name: str
    alias: str | None = None
    version: str | None = None


def parse_reference(text: str) -> Reference:
    """Read ``name``, ``name@alias`` or ``name/version``.

    Raises:
        UnknownSetError: the text is none of them.
    """
    name, at, alias = text.partition("@")
    name, slash, version = name.partition("/")
    named = _NAME.fullmatch(name) and not (at and slash)
    if not named or (at and not _ALIAS.fullmatch(alias)) or (slash and not version.isdecimal()):
        raise UnknownSetError(
            f"{text!r} is no reference to a synthetic set: write name, name@alias or name/version, "
            "such as digits-dm-ipc1@best"
        )
    return Reference(name, alias if at else None, str(int(version)) if slash else None)


def check_set_name(name: str) -> None:
    """Refuse a name that could not be referred to, or would leave a folder.

    Raises:
        ConfigError: it holds anything but letters, digits, dots, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"set name {name!r}: use letters, digits, '.', '-' and '_', starting with a letter or digit"
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that the registry reserves or that could not be referred to.

    Raises:
        ConfigError: it looks like a version, is ``latest``, or holds other signs.
    """
    if not _ALIAS.fullmatch(alias) or alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise ConfigError(
            f"alias {alias!r}: use letters, digits, '-' and '_', starting with a letter; "
            "v1-like ones and latest are reserved"
        )


def pick(reference: Reference, versions: Sequence[RegisteredSet], names: Iterable[str]) -> RegisteredSet:
    """The version that is meant.

    Args:
        reference: what was asked for.
        versions: every version of that name, newest first.
        names: every registered name, for the hint of an error.

    Raises:
        UnknownSetError: the name, the alias or the version does not exist; the message says what does.
    """
    if not versions:
        raise UnknownSetError(f"no synthetic set {reference.name!r}{_hint(reference.name, sorted(names))}")
    by_number = {entry.version: entry for entry in versions}
    by_alias = {alias: entry for entry in versions for alias in entry.aliases}
    if reference.version is not None:
        kind, wanted, known = "version", reference.version, by_number
    elif reference.alias is not None:
        kind, wanted, known = "alias", repr(reference.alias), dict(sorted(by_alias.items()))
    else:
        return by_alias.get(BEST, versions[0])
    if found := known.get(reference.version or reference.alias or ""):
        return found
    raise UnknownSetError(f"{reference.name} has no {kind} {wanted}. Choices: {', '.join(known) or 'none'}")


def _hint(name: str, names: list[str]) -> str:
    if not names:
        return ": nothing is registered in this store yet; `study tune` registers one"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f".{suggestion(name, names)} Choices: {shown}"
