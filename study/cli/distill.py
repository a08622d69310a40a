"""``study distill``: one configuration, no search."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

import study
from study.cli import common

EPILOG = (
    "Example: study distill --method dm --dataset digits --ipc 10 --output digits-dm-ipc10\n\n"
    "Random real images, as a baseline: study distill --method random --dataset digits --ipc 10"
)


@common.guarded
def distill(
    method: common.Method = "dm",
    dataset: common.Dataset = "digits",
    ipc: common.Ipc = 1,
    budget: common.Budget = "quick",
    seed: common.Seed = 0,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run.")] = None,
    overrides: common.Overrides = None,
    recipe: common.Recipe = None,
    variant: common.Variant = None,
    data_root: common.DataRoot = None,
    resolution: common.AnyResolution = None,
    device: common.Device = "auto",
    tracking_uri: common.TrackingUri = None,
    output: common.Output = None,
    as_json: common.Json = False,
) -> None:
    """Distil one set with the recipe's own values, track it and register it."""
    from study.cli.progress import watched
    from study.cli.summary import show_result

    advice = "Interrupted; the run is closed, and the same command starts it again."
    with watched(quiet=as_json, advise=lambda _: advice) as callback:
        result = study.distill(
            method, dataset, ipc=ipc, budget=budget, seed=seed, name=name, settings=overrides, recipe=recipe,
            variant=variant, data_root=data_root, resolution=resolution, device=device,
            tracking_uri=tracking_uri, output=output, callback=callback,
        )  # fmt: skip
    common.answer(result, functools.partial(show_result, tracking_uri=tracking_uri), as_json=as_json)
