"""``study ui``: the MLflow UI on the store that study writes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from study.cli.common import Json, TrackingUri, err, guarded, print_json, say


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
    from study.runs.catalog.ui import open_ui

    with open_ui(tracking_uri, host=host, port=port, keep=not wait) as view:
        try:
            _show(view.address, None if view.server is None else view.server.process.pid, as_json)
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


def _show(address: str, pid: int | None, as_json: bool) -> None:
    from study.runs.catalog.ui import page_links

    links = page_links(address)
    if as_json:
        print_json({"address": address, "pid": pid, "links": links})
        # Read by a script while the server is up.
        sys.stdout.flush()
        return
    say(f"MLflow UI: {address}")
    for name, link in links.items():
        say(f"  {name:<8}{link}")
