"""What a shell may offer while a command is typed: never an error, and nothing that takes long."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from study.api.arguments import stores_of


def complete(kind: str, begun: str, tracking_uri: str | None = None) -> list[str]:
    """Names of a kind that begin as typed.

    Args:
        kind: ``methods``, ``datasets``, ``sets`` or ``searches``.
        begun: what is typed so far.
        tracking_uri: MLflow store; those behind a server offer nothing.

    Example:
        >>> complete("methods", "dat")
        ['datadam', 'datm']
    """
    # A shell that completes has no place for a message, whatever is wrong.
    with contextlib.suppress(Exception):
        return [name for name in _find(kind, tracking_uri) if name.startswith(begun)]
    return []


def _find(kind: str, tracking_uri: str | None) -> list[str]:
    from study.runs.catalog import names

    stores = stores_of(tracking_uri)
    finders: dict[str, Callable[[], list[str]]] = {
        "methods": names.method_names,
        "datasets": names.dataset_names,
        "sets": lambda: names.set_names(stores),
        "searches": lambda: names.search_names(stores),
    }
    return finders[kind]()
