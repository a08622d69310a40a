"""``study distill``: one configuration, no search."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

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
    resolution: common.Resolution = None,
    device: common.Device = "auto",
    tracking_uri: common.TrackingUri = None,
    output: common.Output = None,
    as_json: common.Json = False,
) -> None:
    """Distil one set with the recipe's own values, track it and register it."""
    from study.cli.progress import TerminalCallback
    from study.cli.requests import build_request, check_output, stores
    from study.cli.summary import print_outcome
    from study.core.signals import terminate_like_interrupt
    from study.runs.config.configure import configure
    from study.runs.distill import DistillOptions
    from study.runs.distill import distill as run

    request = build_request(
        method=method, dataset=dataset, ipc=ipc, budget=budget, seed=seed, overrides=overrides,
        space=None, recipe=recipe, variant=variant, resolution=resolution, device=device,
    )  # fmt: skip
    config = configure(request)
    check_output(output)
    options = DistillOptions(stores(tracking_uri, None, data_root), name, output)
    with terminate_like_interrupt(), TerminalCallback(quiet=as_json) as callback:
        try:
            outcome = run(config, options, callback)
        except KeyboardInterrupt as interrupt:
            callback.stop()
            sys.stderr.write("Interrupted; the run is closed, and the same command starts it again.\n")
            raise typer.Exit(common.EXIT_INTERRUPTED) from interrupt
    print_outcome(outcome, as_json=as_json)
