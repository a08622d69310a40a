"""``study experts``: the cache of expert trajectories that MTT, DATM and PAD match."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from study.cli import common
from study.cli.common import guarded, out, print_json, say

app = typer.Typer(no_args_is_help=True)


@app.command("list")
@guarded
def list_(as_json: common.Json = False) -> None:
    """Show what is cached, last used first, and the disk it takes.

    Example: study experts list
    """
    from study.runs.catalog.experts import list_experts

    found = list_experts()
    if as_json:
        print_json(found)
    elif not found["entries"]:
        say(
            f"No experts are cached in {found['folder']} yet; a method that matches trajectories builds its own."
        )
    else:
        _print_entries(found)


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
    resolution: common.Resolution = None,
    device: common.Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and how long it may take.")
    ] = False,
    as_json: common.Json = False,
) -> None:
    """Train the experts of a configuration ahead of its search; those in the cache are left as they are.

    Example: study experts build --method pad --dataset digits --ipc 1
    """
    import study
    from study.cli.progress import bars
    from study.core.signals import terminate_like_interrupt

    config = study.configure(
        method, dataset, ipc=ipc, budget=budget, seed=seed, settings=overrides, recipe=recipe,
        variant=variant, resolution=resolution, device=device,
    )  # fmt: skip
    if dry_run:
        planned = study.plan_experts(config, data_root=data_root)
        print_json(planned) if as_json else _print_plan(planned)
        return
    with terminate_like_interrupt(), bars(quiet=as_json) as bar:
        epochs = bar.add_task("training experts", total=None, note="epochs")
        try:
            done = study.build_experts(
                config,
                data_root=data_root,
                on_epoch=lambda done, total: bar.update(epochs, completed=done, total=total),
            )
        except KeyboardInterrupt as interrupt:
            bar.stop()
            sys.stderr.write("Interrupted; finished experts are kept, and the same command goes on.\n")
            raise typer.Exit(common.EXIT_INTERRUPTED) from interrupt
    if as_json:
        print_json(done)
        return
    say(
        f"{done['experts']} experts of {done['epochs']} epochs, {done['built']} of them trained now "
        f"in {done['seconds']:.1f} s; training accuracy {100 * done['train_accuracy']:.1f} %\n{done['folder']}"
    )


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
    from study.runs.catalog.experts import prune_experts

    pruned = prune_experts(max_gb=max_gb, older_than_days=older_than, everything=everything)
    if as_json:
        print_json(pruned)
        return
    from rich.filesize import decimal

    kept = pruned["kept"]
    in_use = sum(entry["in_use"] for entry in kept["entries"])
    say(
        f"Removed {_counted(len(pruned['removed']))} ({decimal(pruned['bytes'])}); kept "
        f"{_counted(len(kept['entries']))} ({decimal(kept['bytes'])})"
        + (f", {in_use} of them in use" if in_use else "")
    )


def _print_entries(found: dict[str, Any]) -> None:
    from rich.filesize import decimal
    from rich.table import Table

    # Three lines a row, so that everything is readable at 80 columns; a key is to be copied whole.
    table = Table(show_lines=True)
    table.add_column("key, size, last used", no_wrap=True)
    table.add_column("trained on, network, training")
    table.add_column("experts", no_wrap=True)
    for entry in found["entries"]:
        used = "in use" if entry["in_use"] else entry["last_used"][:16].replace("T", " ")
        what = (
            _images(entry),
            _model(entry["model"] or {}),
            _training(entry["training"] or {}, entry["precision"]),
        )
        table.add_row(
            "\n".join((entry["key"][:12], decimal(entry["bytes"]), used)), "\n".join(what), _experts(entry)
        )
    out().print(table)
    say(
        f"{_counted(len(found['entries']))}, {decimal(found['bytes'])} of {decimal(found['limit_bytes'])} "
        f"(STUDY_CACHE_GB) in {found['folder']}\nAccuracies are of training images; times in UTC."
    )


def _print_plan(planned: dict[str, Any]) -> None:
    from rich.filesize import decimal

    words = f"{planned['experts']} experts of {planned['epochs']} epochs, {decimal(planned['bytes'])}: "
    if not planned["to_build"]:
        words += "all in the cache"
    else:
        words += (
            f"{planned['to_build']} to train, {planned['seconds_per_epoch']:.2f} s an epoch, about "
            f"{planned['estimated_seconds']:.0f} s in all"
        )
    say(words)


def _images(entry: dict[str, Any]) -> str:
    if not entry["image_shape"]:
        return ""
    return f"{entry['images']:,} x {'x'.join(map(str, entry['image_shape']))}, {entry['classes']} classes"


def _experts(entry: dict[str, Any]) -> str:
    lines = [f"{entry['experts']} x {entry['epochs']} epochs" if entry["epochs"] else str(entry["experts"])]
    if entry["train_accuracy"] is not None:
        lines.append(f"accuracy {100 * entry['train_accuracy']:.1f} %")
    return "\n".join(lines)


def _model(model: dict[str, Any]) -> str:
    words = [str(model.get("name", ""))]
    words += [f"{name} {model[name]}" for name in ("depth", "width") if model.get(name) is not None]
    return " ".join(words)


def _training(training: dict[str, Any], precision: str | None) -> str:
    if not training:
        return ""
    return f"{training['optimizer']} lr {training['lr']:g}, batch {training['batch_size']}, {precision}"


def _counted(number: int) -> str:
    return f"{number} {'entry' if number == 1 else 'entries'}"
