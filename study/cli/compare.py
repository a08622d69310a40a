"""``study compare``: runs side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from study.cli import common

EPILOG = (
    "Example: study compare --experiment digits-ipc1\n\n"
    "The trials of one search: study compare digits-dm-ipc1-1 --trials\n\n"
    "For a spreadsheet: study compare --csv > runs.csv"
)


@common.guarded
def compare(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Searches, run ids or sets; default: all.", show_default=False
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Of this dataset and IPC only, such as digits-ipc1.")
    ] = None,
    trials: Annotated[bool, typer.Option("--trials", help="The trials of each search.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated text on standard output.")] = False,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Show runs side by side, best validation score first."""
    import sys

    from study.cli.requests import stores
    from study.runs.compare import compare_runs, to_csv

    rows = compare_runs(
        references or [], stores(tracking_uri, None, None), experiment=experiment, trials=trials
    )
    if as_json:
        common.print_json({"runs": rows})
    elif as_csv:
        sys.stdout.write(to_csv(rows))
    else:
        _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from study.cli.summary import percent

    table = Table("run", "method", "budget", "status", "validation", "test", "random, test", "set")
    for row in rows:
        table.add_row(
            row["run"],
            row["method"],
            row["budget"],
            row["status"].lower(),
            percent(row["validation"], row["validation_std"]),
            percent(row["test"], row["test_std"]),
            percent(row["random_test"]),
            row["set"],
        )
    common.out().print(table if rows else "No runs yet; start with: study tune --method dm --dataset digits")
