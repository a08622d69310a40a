"""From options to a configuration: what the commands that compute have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from study.core.config import parse_overrides, set_path
from study.core.errors import ConfigError
from study.core.spaces import parse_space
from study.runs.config.configure import Request
from study.runs.context.stores import StoreOptions

__all__ = ["build_request", "check_output", "given", "stores"]

CONFIGURING = (
    "method", "dataset", "ipc", "budget", "variant", "seed", "overrides", "space", "recipe", "resolution",
)  # fmt: skip


def stores(tracking_uri: str | None, storage: str | None, data_root: Path | None) -> StoreOptions:
    """Addresses of the stores from the shared options."""
    return StoreOptions(tracking_uri=tracking_uri, storage=storage, data_root=data_root)


def build_request(
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
) -> Request:
    """The shared options as one request; a dedicated option wins over ``--set``.

    Raises:
        ConfigError: a word of ``--set`` or ``--space`` cannot be read.
    """
    tree = parse_overrides(overrides or [])
    dedicated = {
        "data.resolution": resolution,
        "compute.device": None if device == "auto" else device,
        "search.num_trials": num_trials,
    }
    for key, value in dedicated.items():
        tree = tree if value is None else set_path(tree, key, value)
    parsed = parse_space(space or [])
    return Request(method, dataset, ipc, budget, seed, tree, parsed, recipe, variant)


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
