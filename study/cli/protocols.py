"""The table of a protocol in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.cli.common import out, print_json
from study.cli.summary import percent

if TYPE_CHECKING:
    from study.runs.protocol_session import ProtocolResult

__all__ = ["print_protocol"]

PERCENT_KEYS = ("accuracy", "std", "recovery", "improvement")


def print_protocol(result: ProtocolResult, *, as_json: bool) -> None:
    """The rows, the numbers that sum them up, the notes, and where the pictures are."""
    if as_json:
        print_json(result.plain())
        return
    from rich.table import Table

    where = f"on {result.split}, n = {result.n}, ddof 1" if result.n else "against the training images"
    table = Table(title=f"{result.set}: {result.protocol} {where}", title_justify="left")
    for key, value in result.rows[0].items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(key.removeprefix("num_").replace("_", " "), justify="right" if is_number else "left")
    for row in result.rows:
        table.add_row(*(_cell(key, value) for key, value in row.items()))
    console = out()
    console.print(table)
    for name, value in result.metrics.items():
        console.print(f"{name}: {_cell(name, value)}")
    for note in result.notes:
        console.print(note)
    console.print(f"run {result.run_id} holds {', '.join(result.artifacts)}", style="dim", soft_wrap=True)


def _cell(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    last = key.split("/")[-1]
    if any(word in last for word in PERCENT_KEYS) or key.startswith(("noise/", "continual/")):
        return percent(value)
    if value >= 1e6:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"
