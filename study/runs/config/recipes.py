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

BUDGETS = ("smoke", "quick", "course", "paper")
"""From seconds to days: for tests, for a laptop, the course's values, the published values."""

DEFAULT = "default"
"""Written in place of a value: lower layers do not count, the default of the code holds."""

SHARED = ("budget ", "dataset ")
"""Origins that know nothing of the method."""
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

    def without(self, section: str) -> Layer:
        """The same, silent about one section."""
        return replace(self, values={key: table for key, table in self.values.items() if key != section})


@dataclass(frozen=True)
class RecipeFile:
    """A file that was read."""

    origin: str
    path: Path
    recipe: Recipe


def recipes_folder() -> Path:
    """Where recipes lie: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(study.__file__).parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "experiments" / "recipes"


def read_layers(
    method: str, dataset: str, budget: str, variant: str | None = None, recipe: Path | None = None
) -> list[Layer]:
    """What recipes say of a method on a dataset, lowest first; ``recipe`` is a file in place of the pair's.

    Raises:
        ConfigError: an unknown name or section, a budget that changes more than counts and sizes, or a recipe
            of another method or dataset.
    """
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, BUDGETS)
    files = find_recipes(method, dataset, recipe)
    layers = [Layer(file.origin, file.recipe.stated(), file.path) for file in files]
    if variant is not None:
        tables = [(file.path, file.recipe.variant) for file in files]
        if not any(variant in table for _, table in tables):
            raise unknown_name("variant", variant, {name for _, table in tables for name in table})
        layers += [
            Layer(f"variant {variant}", t[variant].stated(), path) for path, t in tables if variant in t
        ]
    common = recipes_folder() / "budgets.toml"
    layers.append(Layer(f"budget {budget}", read_recipe(common).budget[budget].stated(), common))
    if budget == "smoke":
        layers.append(Layer(f"method {method}, smoke", {"distill": find_method(method).smoke}))
    layers += [
        Layer(f"{file.origin}, {budget}", file.recipe.budget[budget].stated(), file.path)
        for file in files
        if budget in file.recipe.budget
    ]
    if find_method(method).space or any("space" in layer.values for layer in layers):
        return layers
    return [layer.without("search") if layer.origin.startswith(SHARED) else layer for layer in layers]


def find_recipes(method: str, dataset: str, recipe: Path | None = None) -> list[RecipeFile]:
    """The files of a method on a dataset, lowest first: methods, dataset, pairs or the user's own.

    Raises:
        ConfigError: a file cannot be read, or is for something else.
    """
    files: list[RecipeFile] = []
    family, name = [method], method
    while own := _find("methods", method=name):
        files[:0] = own
        if own[0].recipe.like is None:
            break
        name = own[0].recipe.like
        family.insert(0, name)
    for file in _find("datasets", dataset=dataset):
        files += [file] if method in (file.recipe.methods or (method,)) else []
    if recipe is not None:
        read = read_recipe(recipe, method=method, dataset=dataset)
        return [*files, RecipeFile(f"recipe {recipe.name}", recipe, read)]
    return files + [file for name in family for file in _find("pairs", method=name, dataset=dataset)]


def _find(kind: str, **names: str) -> list[RecipeFile]:
    path = recipes_folder() / kind / f"{'_'.join(names.values())}.toml"
    origin = " ".join([kind.removesuffix("s"), *names.values()])
    return [RecipeFile(origin, path, read_recipe(path, **names))] if path.is_file() else []


def read_recipe(path: Path, **names: str) -> Recipe:
    """Read one file, which may say what it is for but has to agree with ``names``: method, dataset or both.

    Raises:
        ConfigError: it cannot be read, is for something else, or has a key that recipes do not have.
    """
    values = read_toml(path)
    try:
        recipe = build(Recipe, values)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from error
    for key, asked in names.items():
        if (written := getattr(recipe, key)) not in (None, asked):
            raise ConfigError(f"{path.name} is a recipe for {key} {written!r}, not {asked!r}")
    for budget, sections in recipe.budget.items():
        if budget not in BUDGETS:
            raise unknown_name(f"budget in {path.name}", budget, BUDGETS)
        for dotted in flatten(sections.stated()):
            leaf = dotted.rpartition(".")[2]
            if not leaf.startswith(("num_", "batch_")) and leaf not in SIZES:
                raise ConfigError(
                    f"{path.name}: budget.{budget}.{dotted}: a budget changes counts, batch sizes and sizes only "
                    f"(num_*, batch_*, {', '.join(SIZES)})"
                )
    return recipe
