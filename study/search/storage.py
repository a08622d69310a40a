"""The Optuna storage: one SQLite file by default, made once under a lock, in WAL mode."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import warnings
from pathlib import Path

import filelock
import optuna

from study.core.errors import SearchError

LOCK_SECONDS = 60.0
"""How long a writer waits for another one; Optuna's own 5 s fails on a busy disk."""

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 300


def default_storage_url(root: Path) -> str:
    """URL of the embedded storage below a store folder."""
    return f"sqlite:///{(root / 'optuna.db').resolve()}"


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a storage, creating its tables if it is new.

    Raises:
        SearchError: the place cannot be written, or what is there is no Optuna storage.
    """
    connect_args = {"timeout": LOCK_SECONDS} if url.startswith("sqlite") else {}
    try:
        if url.startswith("sqlite:///"):
            path = Path(url.removeprefix("sqlite:///"))
            path.parent.mkdir(parents=True, exist_ok=True)
            # Creating the tables from several processes at once fails, so the first one does it alone.
            with filelock.FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
                with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
                return _connect(url, connect_args)
        return _connect(url, connect_args)
    except filelock.Timeout as error:
        raise SearchError(f"the search storage {url} has been locked for {LOCK_SECONDS:.0f} s") from error
    except Exception as error:  # SQLAlchemy, drivers and Optuna raise unrelated types here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SearchError(f"cannot open the search storage {url}: {reason}") from error


def _connect(url: str, connect_args: dict[str, float]) -> optuna.storages.RDBStorage:
    with warnings.catch_warnings():
        # Heartbeats are marked experimental; a lost worker's trials cannot be found without them.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            url,
            engine_kwargs={"connect_args": connect_args},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
        )


def owner_tag() -> str:
    """Who runs a trial: host, process, and when that process started (process numbers come back)."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def owner_is_dead(tag: str) -> bool:
    """Whether the process behind a tag is certainly gone; False for other hosts, where only time tells."""
    host, pid, started = tag.rsplit(":", 2)
    return host == socket.gethostname() and _started(int(pid)) != started


def _started(pid: int) -> str:
    try:
        # Field 22 of stat, counted after the command name, which may itself hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return "alive" if not Path("/proc").exists() and _answers(pid) else "gone"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and somebody else's
    return True
