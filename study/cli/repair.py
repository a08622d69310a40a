"""``study repair``: a store that was moved works again."""

from __future__ import annotations

from typing import Any

import typer

import study
from study.cli.common import EXIT_USER, Json, TrackingUri, answer, guarded, say

EPILOG = "Example: study repair --tracking-uri copied/mlruns"


@guarded
def repair(tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Record where a moved store lies now, and check every registered set; exit code 2 where one is not whole."""
    done = study.repair(tracking_uri=tracking_uri)
    answer(done, _show, as_json=as_json)
    if not done["whole"]:
        raise typer.Exit(EXIT_USER)


def _show(done: dict[str, Any]) -> None:
    if done["moved_from"] is None:
        say(f"{done['store']} lies where it says; no path was changed")
    else:
        rows = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in done["changed"].items())
        say(f"{done['store']} was moved from {done['moved_from']}; changed: {rows}")
        say(f"the database as it was: {done['backup']}")
    for one in done["sets"]:
        say(f"whole   {one['set']}  {one['sha256']}" if one["whole"] else f"BROKEN  {one['fault']}")
    say(f"{sum(one['whole'] for one in done['sets'])} of {len(done['sets'])} sets are whole")
