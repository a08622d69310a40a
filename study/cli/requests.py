"""From options to a configuration: what the commands that compute have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from study.core.config import merge, parse_overrides
from study.core.errors import ConfigError
from study.core.spaces import parse_space
from study.runs.config.configure import Request, RunConfig, configure
from study.runs.context.stores import StoreOptions

CONFIGURING = (
    "method", "dataset", "ipc", "budget", "variant", "seed", "overrides", "space", "recipe", "resolution",
)  # fmt: skip


def stores(tracking_uri: str | None, storage: str | None, data_root: Path | None) -> StoreOptions:
    """Addresses of the stores from the shared options."""
    return StoreOptions(tracking_uri=tracking_uri, storage=storage, data_root=data_root)


def build_config(
    *,
    method: str,
    dataset: str,
    ipc: int,
    budget: str,
    seed: int,
    overrides: list[str] | None,
    space: list[str] | None,
    recipe: Path | None,
    variant: str | None,
    resolution: int | None,
    device: str,
    num_trials: int | None = None,
) -> RunConfig:
    """Resolve the shared options; a dedicated option wins over ``--set``.

    Raises:
        ConfigError: a name, key or value is wrong.
    """
    tree: dict[str, Any] = parse_overrides(overrides or [])
    if resolution is not None:
        tree = merge(tree, {"data": {"resolution": resolution}})
    if device != "auto":
        tree = merge(tree, {"compute": {"device": device}})
    if num_trials is not None:
        tree = merge(tree, {"search": {"num_trials": num_trials}})
    parsed = parse_space(space or [])
    return configure(Request(method, dataset, ipc, budget, seed, tree, parsed, recipe, variant))


def given(context: typer.Context) -> dict[str, Any]:
    """Options that decide the configuration and were written on the command line."""
    return {
        name: value
        for name, value in context.params.items()
        if name in CONFIGURING and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


def check_output(output: Path | None) -> None:
    """Refuse an output folder that holds something, before hours are spent.

    Raises:
        ConfigError: the path exists and is not an empty folder.
    """
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"--output {output} exists and is not empty; choose a new folder")
