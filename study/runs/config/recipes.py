"""Recipes: TOML files that say how a method is run on a dataset, and what each budget changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import study
from study.core.config import merge, read_toml
from study.core.errors import ConfigError, unknown_name

BUDGETS = ("smoke", "quick", "course", "paper")
"""From seconds to days: for tests, for a laptop, the course's values, the published values."""

SECTIONS = ("data", "model", "distill", "evaluation", "search", "compute", "space")
LAYERS = ("variant", "budget")
SIZES = ("width", "depth", "resolution", "rungs")


def recipes_folder() -> Path:
    """Where recipes lie: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(study.__file__).parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "experiments" / "recipes"


def list_recipes() -> list[Path]:
    """Every shipped recipe file."""
    return sorted(recipes_folder().glob("*.toml"))


def load_recipe(method: str, dataset: str, path: Path | None = None) -> dict[str, Any]:
    """Read the recipe of a method on a dataset: ``<method>_<dataset>.toml``, else ``<method>.toml``.

    A method that came without a recipe runs on its defaults.

    Raises:
        ConfigError: an unknown section, a budget that changes more than counts and sizes, or a recipe
            of another method.
    """
    if path is None:
        folder = recipes_folder()
        names = (f"{method}_{dataset}.toml", f"{method}.toml")
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            return {"budget": {budget: {} for budget in BUDGETS}}
    recipe = read_toml(path)
    for key, asked in (("method", method), ("dataset", dataset)):
        written = recipe.pop(key, asked)
        if written != asked:
            raise ConfigError(f"{path.name} is a recipe for {key} {written!r}, not {asked!r}")
    for section in recipe:
        if section not in (*SECTIONS, *LAYERS):
            raise unknown_name(f"section in {path.name}", section, [*SECTIONS, *LAYERS])
    for variant, changes in recipe.get("variant", {}).items():
        for section in changes:
            if section not in SECTIONS:
                raise unknown_name(f"section in variant.{variant} of {path.name}", section, SECTIONS)
    for budget, changes in recipe.get("budget", {}).items():
        _check_budget(path.name, budget, changes)
    return recipe


def apply_variant(recipe: Mapping[str, Any], variant: str | None) -> dict[str, Any]:
    """Lay a named variant's values over the recipe's; without a name the recipe stays as it is.

    Raises:
        UnknownNameError: the recipe has no variant of that name.
    """
    variants = recipe.get("variant", {})
    if variant is not None and variant not in variants:
        raise unknown_name("variant", variant, variants)
    plain = {section: table for section, table in recipe.items() if section != "variant"}
    return plain if variant is None else merge(plain, variants[variant])


def apply_budget(recipe: Mapping[str, Any], budget: str) -> dict[str, Any]:
    """Lay a budget's counts and sizes over the recipe's values.

    Raises:
        UnknownNameError: no such budget, or this recipe does not have it.
    """
    budgets = recipe.get("budget", {})
    if budget not in BUDGETS or budget not in budgets:
        raise unknown_name("budget", budget, budgets)
    values = {section: table for section, table in recipe.items() if section != "budget"}
    return merge(values, budgets[budget])


def _check_budget(file: str, budget: str, changes: Mapping[str, Any]) -> None:
    if budget not in BUDGETS:
        raise unknown_name(f"budget in {file}", budget, BUDGETS)
    for dotted in _leaves(changes):
        leaf = dotted.rpartition(".")[2]
        if not leaf.startswith(("num_", "batch_")) and leaf not in SIZES:
            raise ConfigError(
                f"{file}: budget.{budget}.{dotted}: a budget changes counts, batch sizes and sizes only "
                f"(num_*, batch_*, {', '.join(SIZES)})"
            )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
