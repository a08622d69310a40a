"""A pytest plugin: examples of docstrings run alone in an empty folder, and new stores are copies of one empty store.

It is loaded before any test file, so that it holds for ``study`` as it does for ``tests``.
"""

from __future__ import annotations

import contextlib
import os

# Before torch is imported: its threads spin while they wait, and test processes that share two cores
# would mostly wait for each other. Processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "study"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, Any, Any]:
    """Look for examples where there are some: other modules need not be imported to find none."""
    collectors = yield
    if file_path.is_relative_to(PACKAGE) and ">>>" in file_path.read_text(encoding="utf-8"):
        return collectors
    return [one for one in collectors if type(one).__name__ != "DoctestModule"]


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Any]:
    """What opens a store, and makes it where it is new."""
    from study.tracking import stores

    return stores._open


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Any]) -> Path:
    """The database of an MLflow store without a run; making one takes seconds, a copy none."""
    from study.tracking import stores
    from study.tracking.open import open_tracker

    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "_open", make_store)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_tracker(None, root)
    # The log of an SQLite file is a second file; folded in, one copy takes everything.
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return root / "mlflow.db"


@pytest.fixture(scope="session", autouse=True)
def new_stores_are_copies(request: pytest.FixtureRequest, make_store: Callable[..., Any]) -> Iterator[None]:
    """Embedded stores start as copies of one; processes that tests start still make theirs."""
    from study.tracking import stores

    def open_copy(location: stores.StoreLocation) -> Any:
        if location.database is not None and not location.database.exists():
            shutil.copyfile(request.getfixturevalue("empty_store"), location.database)
        return make_store(location)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "_open", open_copy)
        yield


@pytest.fixture(autouse=True)
def folder_of_the_example(request: pytest.FixtureRequest) -> None:
    """An example has a folder and a cache of its own, and none of the user's settings."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folder, patch = request.getfixturevalue("tmp_path"), request.getfixturevalue("monkeypatch")
    for name in [name for name in os.environ if name.startswith(("STUDY_", "MLFLOW_"))]:
        patch.delenv(name)
    patch.setenv("STUDY_CACHE", str(folder / "cache"))
    patch.chdir(folder)
