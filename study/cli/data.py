"""``study data``: the real datasets, getting one ready, and whether a local copy is whole."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from study.cli.common import DataRoot, Json, Resolution, guarded, out, print_json, say

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A dataset of `study data list`.", show_default=False)
]


@app.command("list")
@guarded
def list_(data_root: DataRoot = None, as_json: Json = False) -> None:
    """Show every dataset and whether its files are here.

    Example: study data list --data-root ~/data
    """
    from study.runs.catalog.datasets import list_datasets

    datasets = list_datasets(data_root)
    if as_json:
        print_json({"datasets": datasets})
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("name", "what it is", "here", box=SIMPLE_HEAD, show_edge=False)
    missing: dict[str, list[str]] = {}
    for row in datasets:
        table.add_row(row["name"], row["description"], "[green]yes[/green]" if row["present"] else "no")
        if not row["present"]:
            way = row["how_to_get"].replace(row["name"], "NAME")
            missing.setdefault(way, []).append(row["name"])
    out().print(table)
    if missing:
        say("\nTo get one that is not here:")
    # Plain lines, each way once: an address is to be copied whole.
    for way, names in missing.items():
        say(f"{', '.join(names)}: {way if len(names) > 1 else way.replace('NAME', names[0])}")


@app.command()
@guarded
def prepare(
    name: Name, data_root: DataRoot = None, resolution: Resolution = None, as_json: Json = False
) -> None:
    """Download or decode a dataset, so that runs start at once.

    Example: study data prepare mhist --data-root ~/data --resolution 64
    """
    from study.runs.catalog.datasets import prepare_dataset

    prepared = prepare_dataset(name, data_root, resolution)
    if as_json:
        print_json(prepared)
    else:
        say(prepared["done"])


@app.command()
@guarded
def check(
    name: Name, data_root: DataRoot = None, resolution: Resolution = None, as_json: Json = False
) -> None:
    """Load a dataset fully and count what is in it; a broken file is named.

    Example: study data check mnist --data-root ~/data
    """
    from study.runs.catalog.datasets import check_dataset

    report = check_dataset(name, data_root, resolution)
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def _print_report(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("class", *report["counts"])
    for column in table.columns[1:]:
        column.justify = "right"
    for class_name in report["class_names"]:
        table.add_row(class_name, *(f"{counts[class_name]:,}" for counts in report["counts"].values()))
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
