"""Opening an MLflow store: made once under a lock, checked before MLflow touches it, errors in one line."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from study.core.errors import StudyError, TrackingError
from study.tracking.moves import check_place

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "artifacts"
LOCK_NAME = ".mlflow.lock"
LOCK_SECONDS = 120.0
PAGE_SIZE = 1000

_DEFAULTS = {
    # A script that trains on private images does not call out unless its owner says so.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Both would write between our own lines.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


@dataclass(frozen=True)
class StoreLocation:
    """Where a store is.

    Attributes:
        uri: as MLflow takes it.
        database: the SQLite file, or None for a server or another database.
        artifacts: absolute folder of new experiments' files, or None where the store decides.
    """

    uri: str
    database: Path | None = None
    artifacts: Path | None = None

    @property
    def is_server(self) -> bool:
        """Whether it is reached over HTTP."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """The URI for messages, without a password."""
        parts = urlsplit(self.uri)
        if parts.password is None:
            return self.uri
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{parts.username}:***@{host}").geturl()


def locate(uri: str | None, root: Path) -> StoreLocation:
    """The place that the user means; nothing is opened or created.

    Args:
        uri: a server, a database URL or a folder; None asks ``MLFLOW_TRACKING_URI``, then ``root``.
        root: folder of the default store.

    Raises:
        TrackingError: the URI names MLflow's retired file store, or is not understood.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or None
    if uri is None:
        return _sqlite(root.absolute() / DATABASE_NAME)
    if uri.startswith("file:"):
        raise TrackingError(
            f"tracking URI {uri!r}: MLflow's file store is retired; give a folder, sqlite:///PATH or http://HOST:PORT"
        )
    if uri.startswith("sqlite:///"):
        return _sqlite(Path(unquote(uri.removeprefix("sqlite:///"))).absolute())
    if "://" in uri or uri in {"databricks", "uc"}:
        return StoreLocation(uri.rstrip("/"))
    return _sqlite(Path(uri).expanduser().absolute() / DATABASE_NAME)


def _sqlite(database: Path) -> StoreLocation:
    return StoreLocation(f"sqlite:///{database}", database, database.parent / ARTIFACTS_NAME)


def connect(location: StoreLocation) -> Any:
    """Open a store and give its ``MlflowClient``; an SQLite store is created and migrated if need be.

    Raises:
        TrackingError: it does not answer, cannot be written, or holds something else.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if location.is_server:
        with _environment(_PROBE):
            return _open(location)
    check_moved(location)
    with _creation_lock(location):
        if location.database is None:
            return _open(location)
        _check_database(location.database)
        client = _open(location)
        # Readers and a writer get along only so; the mode stays in the file.
        with contextlib.closing(sqlite3.connect(location.database, timeout=20)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        return client


def check_moved(location: StoreLocation) -> None:
    """Refuse an embedded store that lies elsewhere than it records, before anything is written.

    Raises:
        TrackingError: it was moved, or is no store of ours.
    """
    if location.database is not None and location.database.exists():
        _check_database(location.database)
        check_place(location.database)


def _open(location: StoreLocation) -> Any:
    with translated(location.shown):
        from mlflow import MlflowClient

        # Creating the tables is worth no lines of its own on the user's screen.
        with _quiet("mlflow.store.db.utils", "alembic"):
            if location.database is not None and not _is_made(location.database):
                _make(location.database)
            client = MlflowClient(tracking_uri=location.uri, registry_uri=location.uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
    return client


def _is_made(database: Path) -> bool:
    """Whether all tables are there; MLflow writes its default experiment when they are."""
    if not database.exists():
        return False
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        kept = _tables(connection) & {"experiments", "runs", "registered_models"}
        return any(connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in sorted(kept))


def _make(database: Path) -> None:
    """Make a store beside its place and move it there whole, over one without a row that a kill left half made.

    MLflow's migrations are no transaction: interrupted in place, they can neither go on nor begin again.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = database.with_name(f"{database.name}.new")
    for path in (partial, database):
        for ending in ("", "-journal", "-wal", "-shm"):
            if path == partial or ending:
                path.with_name(path.name + ending).unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{partial}", str(database.parent / ARTIFACTS_NAME))
    # An open file cannot be moved on every system.
    store.engine.dispose()
    partial.replace(database)


@contextlib.contextmanager
def translated(shown: str) -> Iterator[None]:
    """Turn whatever a store raises into a one-line ``TrackingError`` with its URI as users may see it."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        # MLflow, SQLAlchemy, requests and the file system each have their own root exception.
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        if isinstance(error, ModuleNotFoundError):
            raise TrackingError(f"tracking store {shown} needs the Python package {error.name!r}") from error
        if not isinstance(error, (MlflowException, RequestException, SQLAlchemyError, OSError)):
            raise
        raise TrackingError(f"tracking store {shown}: {_first_line(error)}") from error


def every_page(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """All that a search of ``MlflowClient`` finds, asked for page by page."""
    token = None
    while True:
        page = search(*arguments, max_results=PAGE_SIZE, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    for noise in ("(Background on this error", "[SQL:"):
        text = text.partition(noise)[0].strip()
    if "Max retries exceeded" in text or "Failed to establish" in text:
        text = "does not answer; is the server running, and the address right?"
    return text if len(text) <= 300 else text[:297] + "..."


@contextlib.contextmanager
def _creation_lock(location: StoreLocation) -> Iterator[None]:
    """Hold off every other process on this machine: two that create one database at once break it."""
    if location.database is None:
        digest = hashlib.sha256(location.uri.encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"study-mlflow-{digest}.lock"
    else:
        path = location.database.parent / LOCK_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Tried first, since a lock that cannot be made is waited for as if somebody held it.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        lock = FileLock(path, timeout=LOCK_SECONDS)
        lock.acquire()
    except TimeoutError as error:
        raise TrackingError(
            f"{path} has been held for {LOCK_SECONDS:.0f} s; is another run making the store?"
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrackingError(
            f"cannot write to {path.parent}: {reason}; free it, or choose another place with --tracking-uri"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}


def _check_database(path: Path) -> None:
    """Refuse what is not ours before MLflow retries on it for minutes, or adds its tables to it."""
    if not path.exists():
        return
    if not path.is_file():
        raise TrackingError(f"{path} is not a file; move it away, or choose another --tracking-uri")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
            tables = _tables(connection)
    except sqlite3.Error as error:
        raise TrackingError(
            f"{path} cannot be read as an SQLite database ({error}); restore it, or move it away for a new one"
        ) from error
    if not os.access(path, os.W_OK):
        raise TrackingError(f"{path} is not writable; make it so, or choose another --tracking-uri")
    if tables - {"alembic_version"} and "experiments" not in tables:
        owner = "an Optuna storage" if "studies" in tables else "a database of another program"
        raise TrackingError(f"{path} is {owner}, not an MLflow store; choose another --tracking-uri")


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
