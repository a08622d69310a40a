"""Recipes: TOML files that say how a method is run on a dataset, laid over each other.

From the lowest layer to the highest, each of which says only where it differs from those below:

1. for every budget: ``methods/<method>.toml`` (below it that of the method it is ``like``),
   ``datasets/<dataset>.toml``, and ``pairs/<method>_<dataset>.toml`` or in its place a file of the user's own;
2. for the budget in use: ``budgets.toml``, the ``smoke`` sizes of the method's class, then the tables
   ``[budget.NAME]`` of the files of 1, in the same order, each followed by one of its tables ``[budget.NAME.ipc.N]``:
   that of the largest N that is not above the images a class;
3. the variant, where one is named, with tables ``budget`` of its own.

A budget changes counts, sizes, limits of work and ranges of counts only, whatever these were; what no file states
follows from these limits once the data is known (:mod:`study.runs.config.sizing`). ``paper`` may change any value, and
so may the tables ``ipc`` of every budget, since good values depend on the size of the set; and as a network, a learning
rate or a range that a shipped file states for a dataset was measured here and not published, ``paper`` reads of it only
what stands in ``[budget.paper]``, besides how data is loaded.
A method with nothing to search takes no ``search`` values from the files of budgets and datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import study
from study.core.config import Frozen, build, flatten, read_toml
from study.core.errors import ConfigError, unknown_name
from study.methods.base import find_method

BUDGETS = ("smoke", "quick", "course", "paper")
"""From seconds to days: for tests, for a laptop, the course's values, the published values."""

DEFAULT = "default"
"""Written in place of a value: lower layers do not count, the default of the code holds."""

OF_BUDGET = "budget "
SHARED = (OF_BUDGET, "dataset ")
"""Origins that know nothing of the method."""
SIZES = ("width", "depth", "resolution", "rungs", "max_steps", "max_width")
PUBLISHED = "paper"
"""The budget that may change any value."""
MEASURES_NOTHING = "smoke"
"""The budget for tests, whose sets beat nothing: whom the best has to serve is one of its sizes."""
MEASURED = ("model", "distill", "evaluation", "space")
"""Sections that files of datasets and pairs state for this machine's budgets, and not for the published one."""


class Sections(Frozen):
    """Sections of a configuration, as far as they are stated."""

    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    distill: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Any] = Field(default_factory=dict)
    compute: dict[str, Any] = Field(default_factory=dict)
    work: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Any] = Field(default_factory=dict)

    def stated(self) -> dict[str, Any]:
        """What is written, by section."""
        return self.model_dump(exclude_unset=True, include=set(Sections.model_fields))


class Budget(Sections):
    """What a budget changes."""

    ipc: dict[Annotated[int, Field(ge=1)], Sections] = Field(default_factory=dict)
    """And what besides, from so many images a class on, until the next number."""


class Variant(Sections):
    """What a variant changes."""

    budget: dict[str, Budget] = Field(default_factory=dict)


class Recipe(Variant):
    """What one file states: of a method, a dataset or a pair of them."""

    method: str | None = None
    dataset: str | None = None
    like: str | None = None
    """In the file of a method: another one, whose own file and pairs lie below this one's."""
    methods: tuple[str, ...] | None = None
    """In the file of a dataset: the methods it was set up for, by default all; others run as on any dataset."""
    variant: dict[str, Variant] = Field(default_factory=dict)
    differs: tuple[str, ...] = ()
    """What is not as published even with the budget ``paper``, a sentence each; see :func:`read_differences`."""


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

    def without(self, *sections: str) -> Layer:
        """The same, silent about some sections."""
        return replace(self, values={key: table for key, table in self.values.items() if key not in sections})


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
    method: str, dataset: str, budget: str, ipc: int, variant: str | None = None, recipe: Path | None = None
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
    if budget == PUBLISHED:
        layers = [layer.without(*MEASURED) if _of_data(layer.origin) else layer for layer in layers]
    common = _common()
    layers += _budget_layers(f"{OF_BUDGET}{budget}", common.recipe, budget, ipc, common.path)
    if budget == "smoke":
        layers.append(Layer(f"method {method}, smoke", {"distill": find_method(method).smoke}))
    for file in files:
        layers += _budget_layers(f"{file.origin}, {budget}", file.recipe, budget, ipc, file.path)
    if variant is not None:
        tables = [(file.path, file.recipe.variant) for file in files]
        if not any(variant in table for _, table in tables):
            raise unknown_name("variant", variant, {name for _, table in tables for name in table})
        for path, table in tables:
            if variant in table:
                layers.append(Layer(f"variant {variant}", table[variant].stated(), path))
                layers += _budget_layers(f"variant {variant}, {budget}", table[variant], budget, ipc, path)
    if find_method(method).space or any("space" in layer.values for layer in layers):
        return layers
    return [layer.without("search") if layer.origin.startswith(SHARED) else layer for layer in layers]


def read_differences(method: str, dataset: str) -> list[str]:
    """What is not as published even with the budget ``paper``: of any method, and of this one on this dataset.

    A method says for itself what differs; nothing is taken over from one that it is ``like``.
    """
    files = [file for file in find_recipes(method, dataset) if file.recipe.method in (None, method)]
    return [text for file in (_common(), *files) for text in file.recipe.differs]


def _common() -> RecipeFile:
    path = recipes_folder() / "budgets.toml"
    return RecipeFile("budgets", path, read_recipe(path))


def _of_data(origin: str) -> bool:
    """Whether a shipped file of a dataset or a pair says it; a user's own file means what it says."""
    return origin.startswith(("dataset ", "pair "))


def _budget_layers(origin: str, tables: Variant, budget: str, ipc: int, path: Path) -> list[Layer]:
    """The table of a budget, and of its tables by images a class the one of the largest number reached."""
    if (table := tables.budget.get(budget)) is None:
        return []
    layers = [Layer(origin, table.stated(), path)]
    if reached := [number for number in table.ipc if number <= ipc]:
        number = max(reached)
        layers.append(Layer(f"{origin}, ipc {number}", table.ipc[number].stated(), path))
    return layers


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
    for where, tables in [("", recipe), *((f"variant.{name}.", one) for name, one in recipe.variant.items())]:
        for budget, table in tables.budget.items():
            _check_budget(f"{path.name}: {where}budget.{budget}", budget, table)
    return recipe


def _check_budget(where: str, budget: str, table: Budget) -> None:
    if budget not in BUDGETS:
        raise unknown_name(f"budget in {where.partition(':')[0]}", budget, BUDGETS)
    if budget == PUBLISHED:
        return
    for dotted in flatten(table.stated()):
        leaf = dotted.rpartition(".")[2]
        limits = dotted.startswith(("work.", "space.distill.num_"))
        limits |= budget == MEASURES_NOTHING and dotted == "search.serves"
        if not limits and not leaf.startswith(("num_", "batch_")) and leaf not in SIZES:
            raise ConfigError(
                f"{where}.{dotted}: a budget other than {PUBLISHED} changes counts, batch sizes and sizes only "
                f"(num_*, batch_*, {', '.join(SIZES)}), limits of work, and ranges of counts; what the size of the set "
                "decides stands in its tables ipc"
            )
