"""Running MLflow's own server on a store, for looking at it; kept to loopback unless told otherwise."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from study.core.errors import ConfigError, TrackingError
from study.core.signals import terminate_like_interrupt
from study.tracking.links import DEFAULT_PORT
from study.tracking.stores import StoreLocation, check_moved, connect

START_SECONDS = 90.0
STOP_SECONDS = 10.0

BLOCKED_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080}
)
"""Ports from 1024 on that browsers refuse to open (ERR_UNSAFE_PORT), after the fetch standard's list."""


@dataclass
class Server:
    """A server that answers.

    Attributes:
        address: to open in a browser, without a slash at its end.
        process: the server; its children share its process group.
        log: what it printed.
    """

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> int:
        """Block until it ends by itself; gives its exit code."""
        return self.process.wait()

    def stop(self) -> None:
        """End it and its workers; a second call does nothing."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, sign)
                else:
                    self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue


def choose_port(host: str, wanted: int | None) -> int:
    """A free port that browsers open: the one asked for, or the first from 5000 on.

    Raises:
        ConfigError: the port asked for is out of range, taken, or blocked by browsers.
    """
    if wanted is None:
        first, last = DEFAULT_PORT, DEFAULT_PORT + 99
        for port in range(first, last + 1):
            if port not in BLOCKED_PORTS and _is_free(host, port):
                return port
        raise ConfigError(f"no port from {first} to {last} is free on {host}; give --port")
    if not 1024 <= wanted <= 65535:
        raise ConfigError(f"--port {wanted}: choose one from 1024 to 65535")
    if wanted in BLOCKED_PORTS:
        raise ConfigError(f"--port {wanted}: browsers refuse to open this port; choose another, such as 5000")
    if not _is_free(host, wanted):
        raise ConfigError(f"--port {wanted} is taken on {host}; choose another, or leave --port out")
    return wanted


def start_server(location: StoreLocation, host: str = "127.0.0.1", port: int | None = None) -> Server:
    """Start a server on a store, which is created if need be, and wait until it answers.

    Any host but loopback lets others read and write the store.

    Raises:
        ConfigError: the port cannot be used.
        TrackingError: the store cannot be used, or the server did not come up; its last words are quoted.
    """
    check_moved(location)
    port = choose_port(host, port)
    if location.database is not None and not location.database.exists():
        connect(location)
    handle, name = tempfile.mkstemp(prefix="study-ui-", suffix=".log")
    log = Path(name)
    words = ["mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    with os.fdopen(handle, "wb") as stream:
        process = subprocess.Popen(
            # -P: a file of the user's such as click.py must not stand in for a package.
            [sys.executable, "-P", "-m", *words], env=_environment(location), stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
    server = Server(f"http://{f'[{shown}]' if ':' in shown else shown}:{port}", process, log)
    try:
        _await_health(server)
    except BaseException:
        server.stop()
        raise
    return server


@contextlib.contextmanager
def serve(location: StoreLocation, host: str = "127.0.0.1", port: int | None = None) -> Iterator[Server]:
    """A server for the length of a block; ended with it, also on SIGTERM."""
    server: Server | None = None
    try:
        with terminate_like_interrupt():
            server = start_server(location, host, port)
            yield server
    finally:
        if server is not None:
            server.stop()
            server.log.unlink(missing_ok=True)


def _environment(location: StoreLocation) -> dict[str, str]:
    environment = dict(os.environ)
    # Job consumers for language-model features cost seven processes and 1.4 GB.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Not on the command line, where every user of the machine could read a password.
    environment["MLFLOW_BACKEND_STORE_URI"] = location.uri
    environment["MLFLOW_TRACKING_URI"] = location.uri
    if location.artifacts is not None:
        environment["MLFLOW_ARTIFACTS_DESTINATION"] = location.artifacts.as_uri()
    return environment


def _await_health(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise TrackingError(
                f"the MLflow server ended with code {server.process.returncode}: {_last_line(server.log)}"
            )
        with contextlib.suppress(URLError, OSError):
            request = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with request.open(f"{server.address}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        time.sleep(0.2)
    raise TrackingError(
        f"the MLflow server did not answer within {START_SECONDS:.0f} s: {_last_line(server.log)}"
    )


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server binds: a port that is only lingering from the last one is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise ConfigError(f"--host {host!r} is no address of this machine: {error.strerror}") from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(f"--host {host!r} is no address of this machine") from error
            return False
    return True
