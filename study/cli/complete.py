"""What a shell offers for values: names of methods, datasets, registered sets and searches."""

from __future__ import annotations

import typer


def methods(incomplete: str) -> list[str]:
    """Methods that begin as typed."""
    return _names("methods", incomplete)


def datasets(incomplete: str) -> list[str]:
    """Datasets that begin as typed."""
    return _names("datasets", incomplete)


def sets(context: typer.Context, incomplete: str) -> list[str]:
    """Registered sets of the store that was named before."""
    return _names("sets", incomplete, context)


def searches(context: typer.Context, incomplete: str) -> list[str]:
    """Searches of the store that was named before."""
    return _names("searches", incomplete, context)


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Searches, then sets."""
    return searches(context, incomplete) + sets(context, incomplete)


def _names(kind: str, begun: str, context: typer.Context | None = None) -> list[str]:
    from study.api.completing import complete

    return complete(kind, begun, None if context is None else context.params.get("tracking_uri"))
