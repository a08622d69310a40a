"""What a protocol found, as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from study.cli.common import new_table, out, percent

if TYPE_CHECKING:
    from rich.table import Table

    from study import Evaluation

MAX_ROWS_ACROSS = 3
"""More ways to train than that stand below each other."""
SIDES = ("trained_on", "memory")
"""What a table compares: its values stand side by side where each was scored on the same things."""
PERCENT_KEYS = ("accuracy", "std", "recovery", "improvement", "distilled", "random", "majority_rate")
PERCENT_PREFIXES = ("noise/", "continual/", "cross/", "random/", "full/")


def show_evaluation(result: Evaluation) -> None:
    """The rows, the numbers that sum them up, the notes, and where the pictures are."""
    where = f"on {result.split}, n = {result.n}, ddof 1" if result.n else "against the training images"
    rows = [_merged(row) for row in result.rows]
    if result.columns:
        rows = [{key: row[key] for key in result.columns} for row in rows]
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
    keys = list(rows[0])
    if headings or len(rows) > MAX_ROWS_ACROSS or len(keys) <= len(rows):
        table = new_table()
        for key in keys:
            is_number, heading = _is_number(rows[0][key]), headings.get(key, _heading(key))
            justify: Literal["right", "left"] = "right" if is_number else "left"
            # Chosen headings of numbers stay on one line; names, which are long, make room.
            table.add_column(heading, justify=justify, overflow="fold", no_wrap=is_number and bool(headings))
        for row in rows:
            table.add_row(*(_cell(key, value) for key, value in row.items()))
        return table
    name, *values = keys
    table = new_table(_heading(name))
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
