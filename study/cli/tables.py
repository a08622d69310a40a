"""What a protocol found, as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from study.cli.common import out, print_json
from study.cli.summary import percent

if TYPE_CHECKING:
    from rich.table import Table

    from study import Evaluation

MAX_ROWS_ACROSS = 3
"""More ways to train than that stand below each other."""
SIDES = ("trained_on", "memory")
"""What a table compares: its values stand side by side where each was scored on the same things."""
PERCENT_KEYS = ("accuracy", "std", "recovery", "improvement", "distilled", "random", "majority_rate")
PERCENT_PREFIXES = ("noise/", "continual/", "cross/", "random/", "full/")


def print_evaluation(result: Evaluation, *, as_json: bool) -> None:
    """The rows, the numbers that sum them up, the notes, and where the pictures are."""
    if as_json:
        print_json(result.plain())
        return
    where = f"on {result.split}, n = {result.n}, ddof 1" if result.n else "against the training images"
    rows = [_chosen(_merged(row), result.columns) for row in result.rows]
    table = _table(_side_by_side(rows), result.columns)
    if result.totals:
        table.add_section()
        for total in map(_merged, result.totals):
            table.add_row(*("" if key not in total else _cell(key, total[key]) for key in rows[0]))
    console = out()
    # Not the table's own title, which would be broken at its width.
    console.print(f"{result.set}: {result.protocol} {where}", style="italic")
    console.print(table)
    if not result.columns:  # a table with chosen columns says it all
        for name, value in result.metrics.items():
            console.print(f"{name}: {_cell(name, value)}")
    for note in result.notes:
        # A command is to be copied whole.
        console.print(note, soft_wrap=note.startswith("study "), markup=False)
    console.print(f"run {result.run_id} holds {', '.join(result.artifacts)}", style="dim", soft_wrap=True)


def _merged(row: dict[str, Any]) -> dict[str, Any]:
    """A row with mean and deviation in one cell."""
    deviations = {"accuracy": "std", **{key.removesuffix("_std"): key for key in row if key.endswith("_std")}}
    merged = dict(row)
    for key, deviation in deviations.items():
        if merged.get(key) is not None and deviation in merged:
            merged[key] = percent(merged[key], merged.pop(deviation))
    return merged


def _chosen(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    return {key: row[key] for key in columns} if columns else row


def _side_by_side(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for all sets that were scored on the same thing; unchanged where some were not."""
    side = next((key for key in SIDES if key in rows[0]), None)
    values = {"accuracy", "n"}
    shared = [key for key in rows[0] if key not in {side, *values}]
    if side is None or not shared or not values <= set(rows[0]):
        return rows
    scores: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        scores.setdefault(tuple(row[key] for key in shared), {})[str(row[side])] = row["accuracy"]
    names = {str(row[side]) for row in rows}
    if any(set(found) != names for found in scores.values()) or len(rows) != len(scores) * len(names):
        return rows
    return [{**dict(zip(shared, key, strict=True)), **found} for key, found in scores.items()]


def _table(rows: list[dict[str, Any]], headings: dict[str, str]) -> Table:
    """Rows down, or, without headings, across where there are few of them with many values each."""
    from rich.table import Table

    keys = list(rows[0])
    if headings or len(rows) > MAX_ROWS_ACROSS or len(keys) <= len(rows):
        table = Table()
        for key in keys:
            is_number = _is_number(rows[0][key])
            heading = headings.get(key, _heading(key))
            table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(key, value) for key, value in row.items()))
        return table
    name, *values = keys
    table = Table(_heading(name))
    for row in rows:
        table.add_column(str(row[name]), justify="right")
    for key in values:
        table.add_row(_heading(key), *(_cell(key, row[key]) for row in rows))
    return table


def _heading(key: str) -> str:
    # Paths and references of sets stand as they are.
    return key.removeprefix("num_").replace("_", " ") if key.isidentifier() else key


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.endswith(" %")
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    last = key.split("/")[-1]
    if any(word in last for word in PERCENT_KEYS) or key.startswith(PERCENT_PREFIXES):
        return percent(value)
    if value >= 1e6:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"
