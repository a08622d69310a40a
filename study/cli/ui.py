"""``study ui``: the MLflow UI on the store that study writes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import study
from study.cli.common import Json, TrackingUri, answer, err, guarded, say


@guarded
def ui(
    port: Annotated[
        int | None, typer.Option("--port", help="Port; default: the first free one from 5000 on.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others can then change the store.")
    ] = "127.0.0.1",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until Ctrl-C, or leave the server running.")
    ] = True,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Open the tracking store in MLflow's UI: runs, curves, image grids, registered sets.

    Example: study ui --port 5001
    """
    with study.open_ui(tracking_uri, host=host, port=port, keep=not wait) as view:
        try:
            pid = None if view.server is None else view.server.process.pid
            shown = {"address": view.address, "pid": pid, "links": view.links()}
            answer(shown, _show, as_json=as_json)
            # Read by a script while the server is up.
            sys.stdout.flush()
            if view.server is None:
                return
            if not wait:
                err().print(f"It stays up; stop it with: kill {view.server.process.pid}", markup=False)
                return
            err().print("Ctrl-C stops it.", markup=False)
            view.server.wait()
        except KeyboardInterrupt:
            # Ending it so is what was asked for, so it counts as done.
            err().print("Stopped.", markup=False)


def _show(shown: dict[str, Any]) -> None:
    # MLflow's home opens in a mode for language models; the first link is where searches are.
    for name, link in shown["links"].items():
        say(f"  {name:<11}{link}")
    say(f"MLflow UI at {shown['address']}")
