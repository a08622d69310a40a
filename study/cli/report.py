"""``study report``: a page or a table over searches, to look at and to hand on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import study
from study.cli import common

if TYPE_CHECKING:
    from study import Report

PAGE = Path("report.html")
EPILOG = (
    "Example: study report --experiment digits-ipc1 --output report.html\n\n"
    "A table for a paper: study report digits-dm-ipc1-1 digits-mtt-ipc1-1 --latex"
)


@common.guarded
def report(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Searches, run ids or sets; default: all.", show_default=False
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Of this dataset and IPC only, such as digits-ipc1.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; default report.html, a table to the terminal."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table alone, as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="The table alone, for LaTeX with booktabs.")] = False,
    storage: common.Storage = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Write one page over searches that needs no network: scores, images, figures, cost, commands."""
    if markdown and latex:
        raise study.ConfigError("--markdown and --latex exclude each other")
    made = study.report(
        references or (), experiment=experiment, storage=storage, tracking_uri=tracking_uri,
        format="markdown" if markdown else "latex" if latex else "html",
    )  # fmt: skip
    if made.format != "html" and output is None and not as_json:
        sys.stdout.write(made.text)
        return
    write(made, output or PAGE, as_json=as_json)


def write(made: Report, path: Path, *, as_json: bool) -> None:
    """Write a report and say where it is."""
    size = made.write(path)
    found = {"file": str(path), "bytes": size, "searches": list(made.searches)}
    common.answer(found, _show, as_json=as_json)


def _show(found: dict[str, Any]) -> None:
    count = len(found["searches"])
    runs = f"{count} run" if count == 1 else f"{count} runs"
    common.say(f"{found['file']}: {runs}, {found['bytes'] / 1000:,.0f} kB; open it in a browser")
