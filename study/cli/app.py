"""The ``study`` command: its groups and commands, and nothing that takes time to import."""

from __future__ import annotations

from typing import Annotated

import typer

import study
from study.cli import compare as compare_command
from study.cli import data, distill, evaluate, experts, recipe, repair, report, sets, tune, ui
from study.cli.checks import reproduce

app = typer.Typer(
    name="study",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Distil a dataset into a few synthetic images per class, search for the best way to do it, "
        "track every trial in MLflow, and share the winners.\n\n"
        "Start with: [bold]study tune --method dm --dataset digits --ipc 1[/bold]"
    ),
)
app.command("tune", epilog=tune.EPILOG)(tune.tune)
app.command("distill", epilog=distill.EPILOG)(distill.distill)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("compare", epilog=compare_command.EPILOG)(compare_command.compare)
app.command("report", epilog=report.EPILOG)(report.report)
app.add_typer(
    sets.app,
    name="sets",
    help="Synthetic sets: list, show, download, export, verify, promote, delete.",
)
app.add_typer(data.app, name="data", help="Real datasets: list, prepare, check.")
app.add_typer(experts.app, name="experts", help="Cached expert trajectories: list, build, prune.")
app.add_typer(recipe.app, name="recipe", help="What a method is run with on a dataset: show, list.")
app.command("ui")(ui.ui)
app.command("reproduce", epilog=reproduce.EPILOG)(reproduce.reproduce)
app.command("repair", epilog=repair.EPILOG)(repair.repair)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"study {study.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point of the console script."""
    app()
