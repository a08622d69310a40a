"""Which recipes there are, and what decided each value of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.core.config import flatten
from study.core.spaces import describe
from study.data.datasets import DATASETS
from study.methods.base import METHODS
from study.runs.config.configure import HEAD, LAYER_WEIGHTS, Request, RunConfig, configure, request_layers
from study.runs.config.recipes import (
    BUDGETS,
    DEFAULT,
    Layer,
    find_recipes,
    read_differences,
    recipes_folder,
)

OF_WORK = "counted work, see --dry-run"
"""Origin of what a budget chooses once the data is known; the value is not known before."""


@dataclass(frozen=True)
class Setting:
    """One value, or the range of a searched parameter in words, and the source that decided it.

    Example:
        >>> import study
        >>> study.recipe("dm").space[0]
        Setting(key='distill.image_lr', value='0.1 to 10, log', origin='method default')
    """

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Composition:
    """A configuration with the origin of everything in it.

    Attributes:
        config: what a run gets.
        settings: every setting by its dotted key, in plain form.
        changed: those of them that something other than a default of the code decided.
        space: every searched parameter.
        files: the recipe files, the lowest first.
        folder: where shipped recipes lie.
        differs: what is not as published even with the budget ``paper``, a sentence each.

    Example:
        >>> import study
        >>> [path.name for path in study.recipe("dm").files][:2]
        ['dm.toml', 'digits.toml']
    """

    config: RunConfig
    settings: list[Setting]
    changed: list[Setting]
    space: list[Setting]
    files: list[Path]
    folder: Path
    differs: list[str]


def explain(request: Request) -> Composition:
    """The configuration of a request, and what decided each of its values.

    Raises:
        ConfigError: as :func:`study.runs.config.configure.configure`.
    """
    config, layers = configure(request), request_layers(request)
    origins = {**_origins(layers), **{f"space.{key}": "--space" for key in request.space}}
    plain = flatten({key: value for key, value in config.plain().items() if key not in (*HEAD, "space")})
    left = set(config.work.open) if config.work.has_limits else set()
    settings = [
        Setting(key, None, OF_WORK)
        if key in left
        else Setting(
            key, value, origins.get(key, "method default" if key.startswith("distill.") else "default")
        )
        for key, value in plain.items()
        if key != "work.open" and not key.startswith("work.chosen.")
    ]
    space = []
    for key, parameter in config.space.items():
        asked = LAYER_WEIGHTS if key.startswith(LAYER_WEIGHTS.removesuffix("*")) else key
        origin = origins.get(f"space.{key}", origins.get(f"space.{asked}", "method default"))
        space.append(Setting(key, describe(parameter), origin))
    files = dict.fromkeys(layer.path for layer in layers if layer.path is not None)
    return Composition(
        config, settings, [s for s in settings if s.key in origins], space, list(files), recipes_folder(),
        read_differences(request.method, request.dataset),
    )  # fmt: skip


def _origins(layers: list[Layer]) -> dict[str, str]:
    origins: dict[str, str] = {}
    for layer in layers:
        space: Mapping[str, Any] = layer.values.get("space", {})
        origins.update({f"space.{key}": layer.origin for key in space})
        for key, value in flatten({k: v for k, v in layer.values.items() if k != "space"}).items():
            origins[key] = layer.origin
            if value == DEFAULT:
                del origins[key]
    return origins


def list_recipes() -> dict[str, Any]:
    """What a user can name, as plain values: methods with their variants and pair files, datasets, budgets."""
    methods, with_recipe = [], set()
    for method in METHODS:
        found = {dataset: find_recipes(method, dataset) for dataset in DATASETS}
        files = {file.path: file for row in found.values() for file in row}
        with_recipe |= {
            dataset for dataset, row in found.items() if f"dataset {dataset}" in {f.origin for f in row}
        }
        methods.append(
            {
                "name": method,
                "like": next(
                    (file.recipe.like for file in files.values() if file.origin == f"method {method}"), None
                ),
                "variants": [variant for file in files.values() for variant in file.recipe.variant],
                "pairs": [path.stem for path, file in files.items() if file.origin.startswith("pair ")],
            }
        )
    datasets = [{"name": name, "recipe": name in with_recipe} for name in DATASETS]
    return {"methods": methods, "datasets": datasets, "budgets": list(BUDGETS)}
