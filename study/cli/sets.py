"""``study sets``: the registered synthetic sets, and verified copies of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import study
from study.cli.common import EXIT_USER, Json, TrackingUri, answer, guarded, new_table, out, percent, say

app = typer.Typer(no_args_is_help=True)

Reference = Annotated[
    str,
    typer.Argument(
        metavar="SET", help="NAME, NAME@ALIAS, NAME/VERSION, a run id or a folder.", show_default=False
    ),
]


@app.command("list")
@guarded
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only versions of this name.", show_default=False)
    ] = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Show every registered set, newest first.

    Example: study sets list
    """
    answer({"sets": study.sets(name, tracking_uri=tracking_uri)}, _show_sets, as_json=as_json)


@app.command()
@guarded
def show(reference: Reference, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Show the card of a set: what it is, how it scores, how to train on it, where it comes from.

    Example: study sets show digits-dm-ipc1@best
    """
    answer(study.show(reference, tracking_uri=tracking_uri), _show_card, as_json=as_json)


@app.command()
@guarded
def download(
    reference: Reference,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="New folder; default: the set's name, here."),
    ] = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Copy a set into a folder after checking every byte of it.

    Example: study sets download digits-dm-ipc1@best -o digits-dm-ipc1
    """  # fmt: skip
    answer(study.download(reference, output, tracking_uri=tracking_uri), _show_copy, as_json=as_json)


@app.command()
@guarded
def export(
    reference: Reference,
    format: Annotated[
        str,
        typer.Option("--format", "-f", help="folder, npz, torch, imagefolder or parquet (Hugging Face)."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="New folder; default: the set's name and the format."
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Write a set in a format that other tools read, after checking every byte of it.

    Example: study sets export digits-dm-ipc1@best --format parquet --output for-datasets
    """
    answer(study.export(reference, format, output, tracking_uri=tracking_uri), _show_export, as_json=as_json)


@app.command()
@guarded
def verify(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SET]...",
            help="Names, run ids or folders; default: every registered version.",
            show_default=False,
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Check every byte of sets against their manifests; exit code 2 where one is not whole.

    Example: study sets verify digits-dm-ipc1@best ./my-set
    """
    verdicts = study.verify(references or (), tracking_uri=tracking_uri)
    whole = all(verdict["whole"] for verdict in verdicts)
    answer({"sets": verdicts, "whole": whole}, _show_verdicts, as_json=as_json)
    if not whole:
        raise typer.Exit(EXIT_USER)


Version = Annotated[
    str, typer.Argument(metavar="NAME/VERSION", help="A registered version.", show_default=False)
]


@app.command()
@guarded
def promote(
    reference: Version,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept with the version.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overrule the rule; needs --reason.")] = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Point the alias best at a version, if it is fit and beats the holder on validation.

    Example: study sets promote digits-dm-ipc1/2 --reason "used in the course"
    """
    done = study.promote(reference, reason=reason, force=force, tracking_uri=tracking_uri)
    answer(done, _show_promotion, as_json=as_json)


@app.command()
@guarded
def delete(
    reference: Version,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete it even where it is best.")] = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Delete a version, and its files where no other version shares them; its run stays.

    Example: study sets delete digits-dm-ipc1/2 --yes
    """
    planned = study.delete(reference, force=force, dry_run=True, tracking_uri=tracking_uri)
    if not yes:
        aliases = f" ({', '.join(planned['aliases'])})" if planned["aliases"] else ""
        typer.confirm(f"Delete {planned['set']}{aliases} for good?", abort=True, err=True)
    done = study.delete(reference, force=force, tracking_uri=tracking_uri)
    answer(done, _show_deletion, as_json=as_json)


def _show_promotion(done: dict[str, Any]) -> None:
    before = f", before {done['before']}" if done["before"] else ""
    say(f"{done['set']} is best now{before}: {done['promoted_reason']}")
    if done["forced"]:
        say(f"The rule was overruled: {done['promoted_against']}")


def _show_deletion(done: dict[str, Any]) -> None:
    files = "its files too" if done["files_deleted"] else "its files stay, since they are not its own"
    say(f"{done['set']} is deleted, {files}")


def _show_card(shown: dict[str, Any]) -> None:
    from rich.markdown import Markdown

    lines = [line for line in shown["card"].splitlines() if not line.startswith("![")]
    out().print(Markdown("\n".join(lines)))
    if shown["registered"] is not None:
        aliases = ", ".join(shown["registered"]["aliases"]) or "none"
        say(f"\nversion {shown['registered']['version']}, aliases: {aliases}")
    say(f"SHA-256 {shown['sha256']}, every file checked")


def _show_copy(done: dict[str, Any]) -> None:
    say(f"{done['set']} is in {done['folder']}, every file checked:")
    for name, size in done["files"].items():
        say(f"  {name:<18} {size:>10,} bytes")
    say(f"SHA-256 {done['sha256']}")
    say(f"How to train on it: {Path(done['folder']) / 'README.md'}")


def _show_export(done: dict[str, Any]) -> None:
    size = sum(done["files"].values())
    say(
        f"{done['set']} is in {done['folder']} as {done['format']}: {len(done['files'])} files, {size:,} bytes"
    )
    if done["clipped"] is not None:
        say(f"{percent(done['clipped'])} of pixels clipped in the pictures")
    if done["left_out"]:
        say(f"Left out, since the format has no place for it: {', '.join(done['left_out'])}")
    say(f"How to read it: {Path(done['folder']) / 'README.md'}")


def _show_verdicts(found: dict[str, Any]) -> None:
    for one in found["sets"]:
        say(f"whole   {one['set']}  {one['sha256']}" if one["whole"] else f"BROKEN  {one['fault']}")
    say(f"{sum(one['whole'] for one in found['sets'])} of {len(found['sets'])} sets are whole")


def _show_sets(found: dict[str, list[dict[str, Any]]]) -> None:
    sets = found["sets"]
    if not sets:
        say("No sets are registered here yet; `study tune` registers its best one.")
        return
    table = new_table("set", "alias", "val", "test", "random", "budget", "made", right=(2, 3, 4))
    # A reference is to be copied whole.
    table.columns[0].no_wrap = table.columns[6].no_wrap = True
    for entry in sets:
        tags = entry["tags"]
        validation, random = _percent(tags.get("val_accuracy")), _percent(tags.get("random_test_accuracy"))
        test = _percent(tags.get("test_accuracy"), tags.get("test_accuracy_std"))
        reference, aliases = f"{entry['name']}/{entry['version']}", ", ".join(entry["aliases"])
        budget, day = tags.get("budget", ""), entry["created"][:10]
        table.add_row(reference, aliases, validation, test, random, budget, day)
    out().print(table)
    say(
        "Accuracies in percent; random: random real images at the same IPC, on test.\n"
        f"Next: study sets download {sets[0]['name']}"
    )


def _percent(mean: str | None, std: str | None = None) -> str:
    try:
        text = "" if mean is None else f"{100 * float(mean):.1f}"
        return f"{text} ± {100 * float(std):.1f}" if text and std is not None else text
    except ValueError:
        return ""
