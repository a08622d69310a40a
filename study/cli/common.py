"""What every command shares: options of one name, the error boundary, where output goes."""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

import study
from study.core.words import percent as percent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

P = ParamSpec("P")
R = TypeVar("R")

EXIT_USER = 2
EXIT_INTERRUPTED = 130
LEAST_PIXELS = 4


def _pixels(text: str) -> int | str:
    """A number of pixels, or ``auto``."""
    if text == "auto":
        return text
    if text.isdecimal() and int(text) >= LEAST_PIXELS:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither auto nor a whole number from {LEAST_PIXELS} on")


Method = Annotated[
    str, typer.Option("--method", "-m", help="Distillation method; `study recipe list` shows all.")
]
Dataset = Annotated[str, typer.Option("--dataset", "-d", help="Real dataset; `study data list` shows all.")]
Ipc = Annotated[int, typer.Option("--ipc", help="Synthetic images per class.")]
Budget = Annotated[
    str,
    typer.Option(
        "--budget", "-b", help="smoke, quick, course or paper: from seconds to the published values."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Root of every random number.", min=0)]
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", help="TOML recipe in place of the one of this method on this dataset."),
]
Variant = Annotated[
    str | None,
    typer.Option("--variant", help="Named variant, such as paper or course; `study recipe list` shows all."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting, e.g. distill.image_lr=0.5; repeatable."
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", envvar="STUDY_DATA", help="Where real datasets lie; default ./data."),
]
Resolution = Annotated[
    int | None,
    typer.Option("--resolution", help="Resize real images to this many pixels a side.", min=LEAST_PIXELS),
]
RESOLUTION = "Resize real images to this many pixels a side; auto: to as many as the budget has time for."
AnyResolution = Annotated[
    Any,
    typer.Option("--resolution", metavar="PIXELS|auto", help=RESOLUTION, parser=_pixels, show_default=False),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Storage = Annotated[
    str | None,
    typer.Option("--storage", envvar="STUDY_STORAGE", help="Optuna storage URL; default mlruns/optuna.db."),
]
TrackingUri = Annotated[
    str | None,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow store; default ./mlruns."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Also write the set folder here.")]
Space = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        metavar="KEY=RANGE",
        help="Change the search space: distill.image_lr=0.1:10:log, distill.init=real,noise, distill.momentum=fixed.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; start nothing.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]


@functools.cache
def out() -> Console:
    """Standard output, for results."""
    from rich.console import Console

    return Console(highlight=False)


@functools.cache
def err() -> Console:
    """Standard error, for progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def store_words(tracking_uri: str | None) -> str:
    """What a next command needs besides, so that it finds the same store: empty where the default holds."""
    chosen = tracking_uri is not None and tracking_uri != os.environ.get("MLFLOW_TRACKING_URI")
    return f" --tracking-uri {shlex.quote(str(tracking_uri))}" if chosen else ""


def say(text: str) -> None:
    """Print plain text for people: brackets mean nothing in it, and long lines can be copied whole."""
    out().print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def answer(value: Any, show: Callable[[Any], None], *, as_json: bool) -> None:
    """Show what a command found, or print its plain values as JSON where that was asked for."""
    if as_json:
        print_json(value if isinstance(value, dict) else value.plain())
    else:
        show(value)


def new_table(*heads: str, right: Collection[int] = (), **options: Any) -> Table:
    """A table without rows; columns at the positions ``right`` hold numbers."""
    # Loading rich's tables takes a while, which help does not need.
    from rich.table import Table

    table = Table(*heads, title_justify="left", **options)
    for position in right:
        table.columns[position].justify = "right"
    return table


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what the user can mend into one line and exit code 2, and Ctrl-C into 130.

    A search that was interrupted prints its own resume command before this is reached.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except study.StudyError as error:
            _fail(str(error))
            raise typer.Exit(EXIT_USER) from error
        except KeyboardInterrupt as interrupt:
            _fail("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from interrupt

    return run


def _fail(message: str) -> None:
    sys.stderr.write("Error: " + " ".join(message.split()) + "\n")
