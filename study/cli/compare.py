"""``study compare``: runs side by side."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

import study
from study.cli import common
from study.cli.common import percent

if TYPE_CHECKING:
    from study import SetComparison

SEEDS = "Train this many networks on each of two sets, from the same seeds, and test the difference."

EPILOG = (
    "Example: study compare --experiment digits-ipc1\n\n"
    "The trials of one search: study compare digits-dm-ipc1-1 --trials\n\n"
    "Is one set better than another? study compare digits-dm-ipc10/1 digits-random-ipc10/1 --seeds 10\n\n"
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
    seeds: Annotated[int | None, typer.Option("--seeds", help=SEEDS, min=2, show_default=False)] = None,
    test: Annotated[
        bool, typer.Option("--test", help="With --seeds: on test images instead of validation; logged.")
    ] = False,
    overrides: common.Overrides = None,
    data_root: common.DataRoot = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Show runs side by side, best validation score first; with --seeds, test one set against another."""
    named = references or []
    if seeds is None:
        if test or overrides:
            raise study.ConfigError("--test and --set go with --seeds, which trains networks on two sets")
        rows = study.list_runs(named, experiment=experiment, trials=trials, tracking_uri=tracking_uri)
        show = _show_csv if as_csv else _show_runs
        common.answer({"runs": rows}, show, as_json=as_json)
        return
    if len(named) != 2:
        raise study.ConfigError(f"--seeds compares two sets, but {len(named)} are named")
    from study.cli.progress import watched

    with watched(quiet=as_json) as callback:
        comparison = study.compare(
            *named, split="test" if test else "validation", seeds=seeds, settings=overrides,
            data_root=data_root, tracking_uri=tracking_uri, callback=callback,
        )  # fmt: skip
    common.answer(comparison, _show_comparison, as_json=as_json)


def _show_csv(found: dict[str, list[dict[str, Any]]]) -> None:
    rows = found["runs"]
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else ["run"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _show_runs(found: dict[str, list[dict[str, Any]]]) -> None:
    rows = found["runs"]
    table = common.new_table("run", "method", "budget", "status", "validation", "test", "random, test", "set")
    for row in rows:
        validation = percent(row["validation"], row["validation_std"])
        test = percent(row["test"], row["test_std"])
        words = (row["run"], row["method"], row["budget"], row["status"].lower())
        table.add_row(*words, validation, test, percent(row["random_test"]), row["set"])
    common.out().print(table if rows else "No runs yet; start with: study tune --method dm --dataset digits")


def _show_comparison(comparison: SetComparison) -> None:
    """Both scores, their difference and what can be said of it."""
    metric = comparison.metric.replace("_", " ")
    title = f"{metric} on {comparison.split}, {comparison.model}, recipe of the first, ddof 1"
    table = common.new_table("set", metric, "95 % interval", title=title)
    rows = [*zip(comparison.sets, comparison.scores, strict=True), ("difference", comparison.difference)]
    for name, row in rows:
        low, high = row["low"], row["high"]
        bounds = "-" if low is None else f"{100 * low:.1f} to {100 * high:.1f} %"
        table.add_row(name, percent(row["mean"], row["std"]), bounds)
    console = common.out()
    console.print(table)
    console.print(
        f"p = {comparison.p_value:.3g} (sign-flip test, {comparison.difference['n']} paired seeds, "
        f"which reach {comparison.smallest_p_value:.2g} at best)"
    )
    console.print(f"run {comparison.run_id}", style="dim")
