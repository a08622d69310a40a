"""``study tune``: search the hyperparameters of one method on one dataset."""

from __future__ import annotations

import functools
import os
import shlex
from typing import Annotated, Any

import typer

import study
from study.cli import common

TIMEOUT = "Seconds after which no further trial starts."
PROFILE = "Print where the time went, part by part; --json always has it, as cost."
NAME = "Name of the search; default: the set name and a number."
RESUME = "Continue the search of this name; no other option is needed."
OBJECTIVE = (
    "What to raise, on validation: accuracy of the recipe's network, cross-arch (the mean over other "
    "architectures), or accuracy,cross-arch for both."
)
EPILOG = (
    "Example: study tune --method dm --dataset digits --ipc 1\n\n"
    "Its own network and others at once: study tune -m dm -d digits --objective accuracy,cross-arch\n\n"
    "MNIST in ./data, no new trial after ten minutes: study tune -m dm -d mnist --ipc 10 --timeout 600\n\n"
    "Your own images in pictures/train/<class>/*: "
    "study tune -m dm -d folder --data-root pictures --resolution auto"
)

CONFIGURING = (
    "method", "dataset", "ipc", "budget", "variant", "seed", "overrides", "space", "recipe", "resolution",
)  # fmt: skip


@common.guarded
def tune(
    context: typer.Context,
    method: common.Method = "dm",
    dataset: common.Dataset = "digits",
    ipc: common.Ipc = 1,
    budget: common.Budget = "quick",
    trials: Annotated[int | None, typer.Option("--trials", help="Trials to finish.", min=1)] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help=TIMEOUT, min=0)] = None,
    seed: common.Seed = 0,
    name: Annotated[str | None, typer.Option("--name", help=NAME)] = None,
    resume: Annotated[str | None, typer.Option("--resume", metavar="NAME", help=RESUME)] = None,
    objective: Annotated[
        str | None,
        typer.Option("--objective", metavar="NAMES", help=OBJECTIVE, show_default="accuracy"),
    ] = None,
    overrides: common.Overrides = None,
    space: common.Space = None,
    recipe: common.Recipe = None,
    variant: common.Variant = None,
    data_root: common.DataRoot = None,
    resolution: common.AnyResolution = None,
    device: common.Device = "auto",
    storage: common.Storage = None,
    tracking_uri: common.TrackingUri = None,
    output: common.Output = None,
    profile: Annotated[bool, typer.Option("--profile", help=PROFILE)] = False,
    dry_run: common.DryRun = False,
    as_json: common.Json = False,
) -> None:
    """Search hyperparameters on validation, track every trial, register the best synthetic set."""
    from study.cli.progress import watched
    from study.cli.summary import print_plan, show_result

    asked = _given(context)
    if objective is not None:
        asked["overrides"] = [*(overrides or []), f"search.objective={objective}"]
    configured: dict[str, Any] = {
        "ipc": ipc, "budget": budget, "trials": trials, "seed": seed, "objective": objective,
        "settings": overrides, "space": space, "recipe": recipe, "variant": variant,
        "resolution": resolution, "device": device,
    }  # fmt: skip
    if dry_run:
        with watched(quiet=as_json):
            if resume is None:
                composed = study.recipe(method, dataset, data_root=data_root, **configured)
                config, changed = composed.config, composed.changed
            else:
                config, changed = study.search_config(resume, asked=asked, storage=storage), []
            plan = study.plan(config, data_root=data_root)
        print_plan(plan, changed, as_json=as_json)
        return
    where: dict[str, Any] = {
        "data_root": data_root, "storage": storage, "tracking_uri": tracking_uri, "output": output,
        "timeout": timeout,
    }  # fmt: skip
    with watched(quiet=as_json, advise=functools.partial(_how_to_resume, tracking_uri, storage)) as callback:
        if resume is None:
            result = study.tune(method, dataset, **configured, **where, name=name, callback=callback)
        else:
            result = study.resume(resume, **where, trials=trials, asked=asked, callback=callback)
    common.answer(
        result, functools.partial(show_result, profile=profile, tracking_uri=tracking_uri), as_json=as_json
    )


def _how_to_resume(tracking_uri: str | None, storage: str | None, search: str | None) -> str:
    if search is None:
        return "Interrupted before the search was opened; nothing was written."
    where = common.store_words(tracking_uri)
    if storage is not None and storage != os.environ.get("STUDY_STORAGE"):
        where += f" --storage {shlex.quote(storage)}"
    return f"Interrupted; finished trials are kept. Continue with:\n  study tune --resume {search}{where}"


def _given(context: typer.Context) -> dict[str, Any]:
    """Options that decide the configuration and were written on the command line."""
    return {
        name: value
        for name, value in context.params.items()
        if name in CONFIGURING and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
