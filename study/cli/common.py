"""What every command shares: options of one name, the error boundary, where output goes."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

EXIT_USER = 2
EXIT_INTERRUPTED = 130

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
    int | None, typer.Option("--resolution", help="Resize real images to this many pixels a side.", min=4)
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


def say(text: str) -> None:
    """Print plain text for people: brackets mean nothing in it, and long lines can be copied whole."""
    out().print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what the user can mend into one line and exit code 2, and Ctrl-C into 130.

    A search that was interrupted prints its own resume command before this is reached.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # The error tree is light; the layers below are imported by the command itself.
        from study.core.errors import StudyError

        try:
            return command(*args, **kwargs)
        except StudyError as error:
            _fail(str(error))
            raise typer.Exit(EXIT_USER) from error
        except KeyboardInterrupt as interrupt:
            _fail("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from interrupt

    return run


def _fail(message: str) -> None:
    sys.stderr.write("Error: " + " ".join(message.split()) + "\n")
