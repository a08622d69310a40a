"""Looking at a tracking store: MLflow's own server on it, and links to what was searched last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from study.tracking.links import registry_link
from study.tracking.open import DEFAULT_ROOT, open_tracker
from study.tracking.server import Server, serve, start_server
from study.tracking.stores import locate


@dataclass(frozen=True)
class View:
    """A UI that answers at an address; its server is None where one was running already."""

    address: str
    server: Server | None = None

    def links(self) -> dict[str, str]:
        """Addresses of the newest search and of the registry, by name, asked from the server that shows them."""
        tracker = open_tracker(self.address)
        searches = tracker.find_runs(tags={"study.kind": "search"})
        if not searches:
            return {"sets": registry_link(self.address)}
        return tracker.links(searches[0].experiment, searches[0].run_id)


@contextlib.contextmanager
def open_ui(
    tracking_uri: str | None = None,
    root: Path = DEFAULT_ROOT,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    keep: bool = False,
) -> Iterator[View]:
    """Serve a store for the length of a block; a store behind a server is served by that one already.

    The port is by default the first free one from 5000 on; ``keep`` leaves the server running after the block.

    Raises:
        ConfigError: the port or the host cannot be used.
        TrackingError: the store cannot be opened, or the server does not come up.
    """
    location = locate(tracking_uri, root)
    if location.is_server:
        yield View(location.uri)
    elif keep:
        server = start_server(location, host, port)
        yield View(server.address, server)
    else:
        with serve(location, host, port) as server:
            yield View(server.address, server)
