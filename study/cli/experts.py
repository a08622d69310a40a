"""``study experts``: the cache of expert trajectories that MTT, DATM and PAD match."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.filesize import decimal

import study
from study.cli import common
from study.cli.common import answer, guarded, new_table, out, percent, say

app = typer.Typer(no_args_is_help=True)


@app.command("list")
@guarded
def list_(as_json: common.Json = False) -> None:
    """Show what is cached, last used first, and the disk it takes.

    Example: study experts list
    """
    answer(study.experts(), _show_entries, as_json=as_json)


@app.command()
@guarded
def build(
    method: common.Method = "pad",
    dataset: common.Dataset = "digits",
    ipc: common.Ipc = 1,
    budget: common.Budget = "quick",
    seed: common.Seed = 0,
    overrides: common.Overrides = None,
    recipe: common.Recipe = None,
    variant: common.Variant = None,
    data_root: common.DataRoot = None,
    resolution: common.AnyResolution = None,
    device: common.Device = "auto",
    dry_run: common.DryRun = False,
    as_json: common.Json = False,
) -> None:
    """Train the experts of a configuration ahead of its search; those in the cache are left as they are.

    Example: study experts build --method pad --dataset digits --ipc 1
    """
    from study.cli.progress import watched

    advice = "Interrupted; finished experts are kept, and the same command goes on."
    with watched(quiet=as_json, advise=lambda _: advice) as callback:
        config = study.configure(
            method, dataset, ipc=ipc, budget=budget, seed=seed, settings=overrides, recipe=recipe,
            variant=variant, data_root=data_root, resolution=resolution, device=device,
        )  # fmt: skip
        if dry_run:
            done = study.plan_experts(config, data_root=data_root)
        else:
            done = study.build_experts(config, data_root=data_root, callback=callback)
    answer(done, _show_plan if dry_run else _show_built, as_json=as_json)


@app.command()
@guarded
def prune(
    max_gb: Annotated[
        float | None,
        typer.Option("--max-gb", help="Remove, least recently used first, until this fits.", min=0),
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", help="Remove what was not used that long.", min=0),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    as_json: common.Json = False,
) -> None:
    """Make room: by default down to the limit, STUDY_CACHE_GB or 20; experts in use always stay.

    Example: study experts prune --older-than 30
    """
    pruned = study.prune_experts(max_gb=max_gb, older_than_days=older_than, everything=everything)
    answer(pruned, _show_pruned, as_json=as_json)


def _show_built(done: dict[str, Any]) -> None:
    say(
        f"{done['experts']} experts of {done['epochs']} epochs, {done['built']} of them trained now "
        f"in {done['seconds']:.1f} s; training accuracy {percent(done['train_accuracy'])}\n{done['folder']}"
    )


def _show_pruned(pruned: dict[str, Any]) -> None:
    kept = pruned["kept"]
    in_use = sum(entry["in_use"] for entry in kept["entries"])
    say(
        f"Removed {_sized(pruned['removed'], pruned['bytes'])}; kept {_sized(kept['entries'], kept['bytes'])}"
        + (f", {in_use} of them in use" if in_use else "")
    )


def _show_entries(found: dict[str, Any]) -> None:
    if not found["entries"]:
        say(
            f"No experts are cached in {found['folder']} yet; a method that matches trajectories builds its own."
        )
        return
    # Three lines a row, so that everything is readable at 80 columns; a key is to be copied whole.
    table = new_table("key, size, last used", "trained on, network, training", "experts", show_lines=True)
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for entry in found["entries"]:
        used = "in use" if entry["in_use"] else entry["last_used"][:16].replace("T", " ")
        file = "\n".join((entry["key"][:12], decimal(entry["bytes"]), used))
        what = "\n".join((_images(entry), _model(entry["model"] or {}), _training(entry)))
        table.add_row(file, what, _experts(entry))
    out().print(table)
    say(
        f"{_counted(found['entries'])}, {decimal(found['bytes'])} of {decimal(found['limit_bytes'])} "
        f"(STUDY_CACHE_GB) in {found['folder']}\nAccuracies are of training images; times in UTC."
    )


def _show_plan(planned: dict[str, Any]) -> None:
    kept = (
        ""
        if planned["kept_epochs"] == planned["epochs"]
        else f" (0 to {planned['kept_epochs']} and the last kept)"
    )
    words = f"{planned['experts']} experts of {planned['epochs']} epochs{kept}, {decimal(planned['bytes'])}: "
    if not planned["to_build"]:
        words += "all in the cache"
    else:
        words += f"{planned['to_build']} to train, about {planned['estimated_seconds']:.0f} s on two cores"
    say(words)


def _images(entry: dict[str, Any]) -> str:
    if not entry["image_shape"]:
        return ""
    return f"{entry['images']:,} x {'x'.join(map(str, entry['image_shape']))}, {entry['classes']} classes"


def _experts(entry: dict[str, Any]) -> str:
    lines = [f"{entry['experts']} x {entry['epochs']} epochs" if entry["epochs"] else str(entry["experts"])]
    if entry["kept_epochs"] is not None and entry["kept_epochs"] < entry["epochs"]:
        lines.append(f"kept: 0 to {entry['kept_epochs']}, {entry['epochs']}")
    if entry["train_accuracy"] is not None:
        lines.append(f"accuracy {percent(entry['train_accuracy'])}")
    return "\n".join(lines)


def _model(model: dict[str, Any]) -> str:
    words = [str(model.get("name", ""))]
    words += [f"{name} {model[name]}" for name in ("depth", "width") if model.get(name) is not None]
    return " ".join(words)


def _training(entry: dict[str, Any]) -> str:
    if not (how := entry["training"]):
        return ""
    return f"{how['optimizer']} lr {how['lr']:g}, batch {how['batch_size']}, {entry['precision']}"


def _sized(entries: list[dict[str, Any]], num_bytes: int) -> str:
    return f"{_counted(entries)} ({decimal(num_bytes)})"


def _counted(entries: list[dict[str, Any]]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
