"""``study data``: the real datasets, getting one ready, and whether a local copy is whole."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import study
from study.cli import complete
from study.cli.common import DataRoot, Json, Resolution, answer, guarded, new_table, out, say

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A dataset of `study data list`.",
        show_default=False,
        autocompletion=complete.datasets,
    ),
]


@app.command("list")
@guarded
def list_(data_root: DataRoot = None, as_json: Json = False) -> None:
    """Show every dataset and whether its files are here.

    Example: study data list --data-root ~/data
    """
    answer({"datasets": study.datasets(data_root)}, _show_datasets, as_json=as_json)


@app.command()
@guarded
def prepare(
    name: Name, data_root: DataRoot = None, resolution: Resolution = None, as_json: Json = False
) -> None:
    """Download or decode a dataset, so that runs start at once.

    Example: study data prepare mhist --data-root ~/data --resolution 64
    """
    from study.cli.progress import watched

    with watched(quiet=as_json):
        prepared = study.prepare_dataset(name, data_root=data_root, resolution=resolution)
    answer(prepared, lambda prepared: say(prepared["done"]), as_json=as_json)


@app.command()
@guarded
def check(
    name: Name, data_root: DataRoot = None, resolution: Resolution = None, as_json: Json = False
) -> None:
    """Load a dataset fully and count what is in it; a broken file is named.

    Example: study data check mnist --data-root ~/data
    """
    from study.cli.progress import watched

    with watched(quiet=as_json):
        report = study.check_dataset(name, data_root=data_root, resolution=resolution)
    answer(report, _show_report, as_json=as_json)


def _show_datasets(found: dict[str, list[dict[str, Any]]]) -> None:
    table = new_table("name", "what it is", "here")
    missing: dict[str, list[str]] = {}
    for row in found["datasets"]:
        table.add_row(row["name"], row["description"], "[green]yes[/green]" if row["present"] else "no")
        if not row["present"]:
            way = row["how_to_get"].replace(row["name"], "NAME")
            missing.setdefault(way, []).append(row["name"])
    out().print(table)
    if missing:
        say("To get one that is not here:")
    # Plain lines, each way once: an address is to be copied whole.
    for way, names in missing.items():
        say(f"{', '.join(names)}: {way if len(names) > 1 else way.replace('NAME', names[0])}")


def _show_report(report: dict[str, Any]) -> None:
    splits = report["counts"]
    table = new_table("class", *splits, right=range(1, 1 + len(splits)))
    for class_name in report["class_names"]:
        table.add_row(class_name, *(f"{counts[class_name]:,}" for counts in splits.values()))
    table.add_section()
    table.add_row("all", *(f"{total:,}" for total in report["totals"].values()))
    out().print(table)
    channels, height, width = report["image_shape"]
    lines = {
        "image": f"{height} x {width}, {'gray' if channels == 1 else 'colour'}",
        "classes": "balanced" if report["balanced"] else "unbalanced: scored by balanced accuracy",
        "mean": ", ".join(f"{value:.4f}" for value in report["mean"]),
        "deviation": ", ".join(f"{value:.4f}" for value in report["std"]),
        "augmentation": report["augmentation"],
        "licence": report["licence"],
        "fingerprint": report["fingerprint"],
        "cached in": ", ".join(report["cached_files"]) or "nothing cached",
    }
    for label, value in lines.items():
        say(f"{label:<14}{value}")
