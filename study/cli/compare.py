"""``study compare``: runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.cli import common

if TYPE_CHECKING:
    from pathlib import Path

    from study.runs.compare import SetComparison

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
    import sys

    import study

    if seeds is not None:
        comparison = _test(references or [], seeds, test, overrides, data_root, tracking_uri, as_json)
        if as_json:
            common.print_json(comparison.plain())
        else:
            _print_comparison(comparison)
        return
    if test or overrides:
        raise study.ConfigError("--test and --set go with --seeds, which trains networks on two sets")
    from study.runs.catalog.runs import to_csv

    rows = study.list_runs(references or (), experiment=experiment, trials=trials, tracking_uri=tracking_uri)
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


def _test(
    references: list[str],
    seeds: int,
    test: bool,
    overrides: list[str] | None,
    data_root: Path | None,
    tracking_uri: str | None,
    as_json: bool,
) -> SetComparison:
    import study
    from study.cli.progress import TerminalCallback
    from study.core.signals import terminate_like_interrupt

    if len(references) != 2:
        raise study.ConfigError(f"--seeds compares two sets, but {len(references)} are named")
    with terminate_like_interrupt(), TerminalCallback(quiet=as_json) as callback:
        return study.compare(
            *references, split="test" if test else "validation", seeds=seeds, settings=overrides,
            data_root=data_root, tracking_uri=tracking_uri, callback=callback,
        )  # fmt: skip


def _print_comparison(comparison: SetComparison) -> None:
    """Both scores, their difference and what can be said of it."""
    from rich.table import Table

    from study.cli.summary import percent

    metric = comparison.metric.replace("_", " ")
    title = f"{metric} on {comparison.split}, {comparison.model}, recipe of the first, ddof 1"
    table = Table("set", metric, "95 % interval", title=title, title_justify="left")
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
