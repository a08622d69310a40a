"""``study compare``: runs side by side."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import study
from study.cli import common
from study.cli.common import percent

if TYPE_CHECKING:
    from study import SetComparison

SEEDS = "Train this many networks on each of two sets, from the same seeds, and test the difference."

SCORES = {"validation": "validation", "random, val": "random_validation", "test": "test", "random, test": "random_test",
          "other networks": "cross", "random, others": "random_cross"}  # fmt: skip
"""Keys of scores by heading."""
BORDER = 3
"""Letters that a column takes besides its text."""

EPILOG = (
    "Example: study compare --experiment digits-ipc1\n\n"
    "The trials of one search: study compare digits-dm-ipc1-1 --trials\n\n"
    "Is one set better than another? study compare digits-dm-ipc10/1 digits-random-ipc10/1 --seeds 10\n\n"
    "For a spreadsheet: study compare --csv > runs.csv\n\n"
    "A page with images and figures: study compare --html runs.html"
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
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="A page over them, as `study report` writes."),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help=SEEDS, min=2, show_default=False)] = None,
    test: Annotated[
        bool, typer.Option("--test", help="With --seeds: on test images instead of validation; logged.")
    ] = False,
    overrides: common.Overrides = None,
    data_root: common.DataRoot = None,
    storage: common.Storage = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Show runs side by side, best validation score first; with --seeds, test one set against another."""
    named = references or []
    if seeds is None:
        if test or overrides:
            raise study.ConfigError("--test and --set go with --seeds, which trains networks on two sets")
        if html is not None:
            if trials or as_csv:
                raise study.ConfigError("--html is a page of its own; leave out --trials and --csv")
            from study.cli.report import write

            made = study.report(named, experiment=experiment, storage=storage, tracking_uri=tracking_uri)
            write(made, html, as_json=as_json)
            return
        rows = study.list_runs(named, experiment=experiment, trials=trials, tracking_uri=tracking_uri)
        show = _show_csv if as_csv else _show_trials if trials else _show_runs
        common.answer({"runs": rows}, show, as_json=as_json)
        return
    if html is not None:
        raise study.ConfigError("--html and --seeds exclude each other")
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
    names = list(dict.fromkeys(key for row in rows for key in row)) or ["run"]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _show_runs(found: dict[str, list[dict[str, Any]]]) -> None:
    _print_table(found["runs"], ("run", "method", "budget", "status"), (), ("set",))


def _show_trials(found: dict[str, list[dict[str, Any]]]) -> None:
    searches: dict[str, list[dict[str, Any]]] = {}
    for row in found["runs"]:
        searches.setdefault(row.get("search", ""), []).append(row)
    for search, rows in searches.items():
        # Searches differ in what they search, so each has a table of its own.
        names = [key for key in dict.fromkeys(key for row in rows for key in row) if "." in key]
        common.say(search)
        _print_table(rows, ("run", "status"), names, ())
    if not searches:
        _print_table([], (), (), ())


def _print_table(
    rows: list[dict[str, Any]], before: Sequence[str], params: Sequence[str], after: Sequence[str]
) -> None:
    """Columns that some row fills; on a narrow screen runs stand side by side, so that no name is cut."""
    if not rows:
        common.say("No runs yet; start with: study tune --method dm --dataset digits")
        return
    cells = [
        {
            **{key: str(row.get(key) or "") for key in before},
            **{label: _score(row, key) for label, key in SCORES.items()},
            **{key.removeprefix("distill."): _value(row.get(key)) for key in params},
            **{key: str(row.get(key) or "") for key in after},
        }
        for row in rows
    ]
    heads = [head for head in cells[0] if any(row[head] not in {"", "-"} for row in cells)]
    lines = [heads, *([row[head] for head in heads] for row in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    if sum(widths) + BORDER * len(widths) + 1 <= common.out().width:
        _print_lines(lines)
        return
    widest, room = max(map(len, heads)), common.out().width
    each = max(len(cell) for line in lines[1:] for cell in line)
    count = max(1, (room - widest - BORDER - 1) // (each + BORDER))
    for start in range(1, len(lines), count):
        _print_lines([list(column) for column in zip(heads, *lines[start : start + count], strict=True)])


def _print_lines(lines: list[list[str]]) -> None:
    table = common.new_table()
    for head in lines[0]:
        table.add_column(head, no_wrap=True, overflow="ignore")
    for line in lines[1:]:
        table.add_row(*line)
    common.out().print(table, crop=False, width=max(common.out().width, table.__rich_measure__(
        common.out(), common.out().options.update(width=10_000)).maximum))  # fmt: skip


def _score(row: dict[str, Any], key: str) -> str:
    return percent(row.get(key), row.get(f"{key}_std"))


def _value(value: str | None) -> str:
    try:
        return "" if value is None else value if value.isdecimal() else f"{float(value):.3g}"
    except ValueError:
        return str(value)


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
