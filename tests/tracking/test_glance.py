"""A listing without MLflow says what MLflow says."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys

import pytest

from study.core.errors import TrackingError
from study.tracking.glance import glance_at_searches, glance_at_sets
from study.tracking.open import open_tracker
from study.tracking.stores import StoreLocation, locate


@pytest.fixture
def filled(store_root, set_factory, tmp_path):
    """A store with three versions of one name, one of them deleted, one of another name, and a stranger's model."""
    from mlflow import MlflowClient

    tracker = open_tracker(None, store_root)
    folder = set_factory(tmp_path / "a-set")
    tags = {"study.kind": "search", "study.search": "first"}
    run = tracker.start_run("digits-ipc1", "first", tags=tags)
    made = [
        tracker.register_set(folder, name, run_id=run.run_id, tags={"n": str(number)}, card="", alias=alias)
        for number, (name, alias) in enumerate(
            [("one", "best"), ("one", "mine"), ("one", None), ("two", None)]
        )
    ]
    tracker.delete_set(made[1])
    client = MlflowClient(tracking_uri=tracker.uri, registry_uri=tracker.uri)
    client.create_registered_model("theirs")
    return tracker


def test_sets_and_searches(filled, store_root):
    location = locate(None, store_root)
    assert glance_at_sets(location) == filled.list_sets()
    assert [(one.name, one.version) for one in filled.list_sets()] == [
        ("two", "1"),
        ("one", "3"),
        ("one", "1"),
    ]
    filled.start_run("digits-ipc1", "second", tags={"study.kind": "search", "study.search": "second"})
    filled.start_run("digits-ipc1", "trial-0", tags={"study.kind": "trial", "study.search": "second"})
    assert glance_at_searches(location) == ["second", "first"]


def test_what_is_no_store_is_left_to_mlflow(tmp_path):
    assert glance_at_sets(StoreLocation("http://127.0.0.1:9")) is None
    assert glance_at_sets(locate(None, tmp_path)) is None
    assert glance_at_searches(locate(None, tmp_path)) == []
    sqlite3.connect(tmp_path / "mlflow.db").close()
    assert glance_at_sets(locate(None, tmp_path)) is None
    (tmp_path / "mlflow.db").write_text("no database")
    assert glance_at_searches(locate(None, tmp_path)) == []
    with pytest.raises(TrackingError, match="cannot be read"):
        glance_at_sets(locate(None, tmp_path))


def test_a_moved_store_is_refused(filled, store_root, tmp_path):
    shutil.move(store_root, tmp_path / "moved")
    with pytest.raises(TrackingError, match="study repair"):
        glance_at_sets(locate(None, tmp_path / "moved"))


def test_listing_loads_no_mlflow(filled, store_root):
    code = (
        "import sys, study; print(len(study.sets(tracking_uri=sys.argv[1])), "
        "{'mlflow', 'torch', 'optuna', 'pandas', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store_root)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "3 set()"
