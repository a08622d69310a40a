"""Recipes: TOML files that say how a method is run on a dataset, laid over each other.

From the lowest layer to the highest, each of which says only where it differs from those below:

1. for every budget: ``methods/<method>.toml`` (below it that of the method it is ``like``),
   ``datasets/<dataset>.toml``, and ``pairs/<method>_<dataset>.toml`` or in its place a file of the user's own;
2. the variant, where one is named;
3. for the budget in use: ``budgets.toml``, the ``smoke`` sizes of the method's class, then the tables
   ``[budget.NAME]`` of the files of 1, in the same order.

Budgets come last since they change counts and sizes, whatever these were. A method with nothing to search takes
no ``search`` values from the files of budgets and datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

import study
from study.core.config import Frozen, build, flatten, read_toml
from study.core.errors import ConfigError, unknown_name
from study.methods.base import find_method

__all__ = ["BUDGETS", "DEFAULT", "Layer", "Recipe", "find_recipes", "list_recipes", "read_layers", "recipes_folder"]

BUDGETS = ("smoke", "quick", "course", "paper")
"""From seconds to days: for tests, for a laptop, the course's values, the published values."""

DEFAULT = "default"
"""Written in place of a value: lower layers do not count, the default of the code holds."""

SIZES = ("width", "depth", "resolution", "rungs")


class Sections(Frozen):
    """Sections of a configuration, as far as they are stated."""

    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    distill: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    compute: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Any] = Field(default_factory=dict)

    def stated(self) -> dict[str, Any]:
        """What is written, by section."""
        return self.model_dump(exclude_unset=True, include=set(Sections.model_fields))


class Recipe(Sections):
    """What one file states: of a method, a dataset or a pair of them."""

    method: str | None = None
    dataset: str | None = None
    like: str | None = None
    """In the file of a method: another one, whose own file and pairs lie below this one's."""
    methods: tuple[str, ...] | None = None
    """In the file of a dataset: the methods it was set up for, by default all; others run as on any dataset."""
    variant: dict[str, Sections] = Field(default_factory=dict)
    budget: dict[str, Sections] = Field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """What one source states.

    Attributes:
        origin: the source in words, such as ``method pad`` or ``dataset mnist, quick``.
        values: by section.
        path: the file, where it is one.
    """

    origin: str
    values: Mapping[str, Any]
    path: Path | None = None


def recipes_folder() -> Path:
    """Where recipes lie: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(study.__file__).parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "experiments" / "recipes"


def list_recipes(kind: str) -> list[Path]:
    """Every shipped file of a kind: ``methods``, ``datasets`` or ``pairs``."""
    return sorted((recipes_folder() / kind).glob("*.toml"))


def read_layers(
    method: str, dataset: str, budget: str, variant: str | None = None, recipe: Path | None = None
) -> list[Layer]:
    """What recipes say of a method on a dataset, lowest first; one without a file adds no layer.

    Args:
        method: name of the method.
        dataset: name of the dataset.
        budget: one of :data:`BUDGETS`.
        variant: a named variant of the files.
        recipe: a file in place of the pair's.

    Raises:
        ConfigError: an unknown name or section, a budget that changes more than counts and sizes, or a recipe
            of another method or dataset.
    """
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, BUDGETS)
    recipes = find_recipes(method, dataset, recipe)
    layers = [Layer(origin, file.stated(), path) for origin, path, file in recipes]
    variants = [name for _, _, file in recipes for name in file.variant]
    if variant is not None and variant not in variants:
        raise unknown_name("variant", variant, variants)
    layers += [
        Layer(f"variant {variant}", file.variant[variant].stated(), path)
        for _, path, file in recipes
        if variant in file.variant
    ]
    path = recipes_folder() / "budgets.toml"
    layers.append(Layer(f"budget {budget}", _read(path, {"budget": read_toml(path)}).budget[budget].stated(), path))
    if budget == "smoke":
        layers.append(Layer(f"method {method}, smoke", {"distill": find_method(method).smoke}))
    layers += [
        Layer(f"{origin}, {budget}", file.budget[budget].stated(), path)
        for origin, path, file in recipes
        if budget in file.budget
    ]
    if find_method(method).space or any("space" in layer.values for layer in layers):
        return layers
    return [
        replace(layer, values={key: table for key, table in layer.values.items() if key != "search"})
        if layer.origin.startswith(("budget", "dataset"))
        else layer
        for layer in layers
    ]


def find_recipes(method: str, dataset: str, recipe: Path | None = None) -> list[tuple[str, Path, Recipe]]:
    """The files of a method on a dataset, lowest first, each with its name in words.

    Raises:
        ConfigError: a file cannot be read, or is for something else.
    """
    folder = recipes_folder()
    methods: list[tuple[str, Path, Recipe]] = []
    family, name = [], method
    while name:
        family.insert(0, name)
        found = _find(folder / "methods" / f"{name}.toml", f"method {name}", method=name)
        methods = found + methods
        name = (found[0][2].like or "") if found else ""
    found = _find(folder / "datasets" / f"{dataset}.toml", f"dataset {dataset}", dataset=dataset)
    lower = methods + [row for row in found if row[2].methods is None or method in row[2].methods]
    if recipe is not None:
        return [*lower, (f"recipe {recipe.name}", recipe, _read(recipe, read_toml(recipe), method, dataset))]
    for name in family:
        path = folder / "pairs" / f"{name}_{dataset}.toml"
        lower += _find(path, f"pair {name} {dataset}", name, dataset)
    return lower


def _find(
    path: Path, origin: str, method: str | None = None, dataset: str | None = None
) -> list[tuple[str, Path, Recipe]]:
    return [(origin, path, _read(path, read_toml(path), method, dataset))] if path.is_file() else []


def _read(path: Path, values: Mapping[str, Any], method: str | None = None, dataset: str | None = None) -> Recipe:
    try:
        recipe = build(Recipe, values)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from error
    for key, written, asked in (("method", recipe.method, method), ("dataset", recipe.dataset, dataset)):
        if written is not None and written != asked:
            raise ConfigError(f"{path.name} is a recipe for {key} {written!r}, not {asked!r}")
    for budget, sections in recipe.budget.items():
        _check_budget(path.name, budget, sections)
    return recipe


def _check_budget(file: str, budget: str, sections: Sections) -> None:
    if budget not in BUDGETS:
        raise unknown_name(f"budget in {file}", budget, BUDGETS)
    for dotted in flatten(sections.stated()):
        leaf = dotted.rpartition(".")[2]
        if not leaf.startswith(("num_", "batch_")) and leaf not in SIZES:
            raise ConfigError(
                f"{file}: budget.{budget}.{dotted}: a budget changes counts, batch sizes and sizes only "
                f"(num_*, batch_*, {', '.join(SIZES)})"
            )
