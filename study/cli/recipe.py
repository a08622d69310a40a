"""``study recipe``: what a method is run with on a dataset, and which file says so."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import study
from study.cli import common, complete

if TYPE_CHECKING:
    from rich.table import Table

    from study import Setting

app = typer.Typer(no_args_is_help=True)

Method = Annotated[
    str,
    typer.Argument(
        metavar="METHOD", help="Distillation method.", show_default=False, autocompletion=complete.methods
    ),
]
Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="Real dataset.", show_default=False, autocompletion=complete.datasets
    ),
]


@app.command()
@common.guarded
def show(
    method: Method,
    dataset: Dataset,
    ipc: common.Ipc = 1,
    budget: common.Budget = "quick",
    seed: common.Seed = 0,
    overrides: common.Overrides = None,
    space: common.Space = None,
    recipe: common.Recipe = None,
    variant: common.Variant = None,
    resolution: common.Resolution = None,
    as_json: common.Json = False,
) -> None:
    """Show every setting of a run, its search space, and what decided each value.

    Example: study recipe show pad mnist --ipc 10 --budget paper
    """
    composition = study.recipe(
        method, dataset, ipc=ipc, budget=budget, seed=seed, settings=overrides, space=space, recipe=recipe,
        variant=variant, resolution=resolution,
    )  # fmt: skip
    files = [_short(path, composition.folder) for path in composition.files]
    if as_json:
        head = {"method": method, "dataset": dataset, "ipc": ipc, "budget": budget, "variant": variant}
        rows = {name: plain_settings(getattr(composition, name)) for name in ("settings", "space")}
        common.print_json({**head, "seed": seed, "digest": composition.config.digest, **rows,
                           "files": files, "differs": composition.differs})  # fmt: skip
        return
    console = common.out()
    named = f", variant {variant}" if variant else ""
    title = f"{method} on {dataset}, {ipc} a class, budget {budget}{named}"
    console.print(settings_table(composition.settings, title))
    if composition.space:
        console.print(settings_table(composition.space, "search space"))
    console.print("not as published, even with the budget paper:")
    for text in composition.differs:
        console.print(f"- {text}", soft_wrap=True)
    console.print("laid over each other, the lowest first:", ", ".join(files), soft_wrap=True)
    console.print(f"in {composition.folder}", soft_wrap=True)


@app.command("list")
@common.guarded
def list_(as_json: common.Json = False) -> None:
    """List the methods, datasets and budgets there are, and the recipes of their own that they have.

    Example: study recipe list
    """
    common.answer(study.recipes(), _show_names, as_json=as_json)


def _show_names(names: dict[str, Any]) -> None:
    table = common.new_table("method", "like", "variants", "recipes of pairs")
    for row in names["methods"]:
        table.add_row(row["name"], row["like"], ", ".join(row["variants"]), ", ".join(row["pairs"]))
    console = common.out()
    console.print(table)
    console.print("datasets:", ", ".join(row["name"] for row in names["datasets"]))
    console.print("with a recipe:", ", ".join(row["name"] for row in names["datasets"] if row["recipe"]))
    console.print("budgets:", ", ".join(names["budgets"]))


def settings_table(settings: Iterable[Setting], title: str) -> Table:
    """Keys, values and origins, grouped by section."""
    table = common.new_table("setting", "value", "origin", title=title)
    table.columns[0].overflow = "fold"  # a key is to be copied whole
    for _, rows in itertools.groupby(settings, lambda setting: setting.key.partition(".")[0]):
        for setting in rows:
            table.add_row(setting.key, _word(setting.value), setting.origin)
        table.add_section()
    return table


def plain_settings(settings: Iterable[Setting]) -> list[dict[str, Any]]:
    """The same for ``--json``."""
    return [vars(setting) for setting in settings]


def _word(value: Any) -> str:
    """As it is written after ``--set key=``."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _short(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
