"""``study reproduce``: a set that is distilled again, and compared byte for byte."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import study
from study.cli import common

EPILOG = "Example: study reproduce digits-dm-ipc1"
EXIT_DIFFERENT = 1


@common.guarded
def reproduce(
    reference: Annotated[
        str, typer.Argument(metavar="RUN", help="Run id, search, NAME@alias, NAME/version or set folder.")
    ],
    data_root: common.DataRoot = None,
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Distil a set again and compare its SHA-256; exit code 1 where it differs. Nothing is tracked or registered."""
    from study.cli.progress import watched

    with watched(quiet=as_json) as callback:
        found = study.reproduce(reference, data_root=data_root, tracking_uri=tracking_uri, callback=callback)
    common.answer(found, _show, as_json=as_json)
    if not found["same"]:
        raise typer.Exit(EXIT_DIFFERENT)


def _show(found: dict[str, Any]) -> None:
    common.say(f"{'same' if found['same'] else 'DIFFERENT'}  {found['reference']}")
    common.say(f"recorded  {found['recorded_sha256']}\nhere      {found['sha256']}")
    if found["same"]:
        return
    for key, (recorded, here) in found["differences"].items():
        common.say(f"{key}: recorded {recorded}, here {here}")
    if not found["differences"]:
        common.say("nothing that was recorded of code, machine or configuration differs from here")
