"""Registered sets against an MLflow store: they outlive their run, and nothing is lost in silence."""

from __future__ import annotations

import os
import shutil

import pytest

from study.core.errors import TrackingError
from study.tracking.open import open_tracker
from study.tracking.registry import _process_uri


@pytest.fixture
def tracker(store_root):
    return open_tracker(None, store_root)


@pytest.fixture
def client(tracker):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracker.uri, registry_uri=tracker.uri)


@pytest.fixture
def folder(tmp_path, set_factory):
    return set_factory(tmp_path / "a-set")


def register(tracker, folder, card="# Card", **more):
    run = tracker.start_run("digits-ipc1", "trial-0")
    return tracker.register_set(
        folder, "digits-dm-ipc1", run_id=run.run_id, tags={"a": "b"}, card=card, **more
    )


def test_a_set_outlives_its_run(tracker, client, folder, store_root, tmp_path):
    entry = register(tracker, folder, alias="best")
    client.delete_run(entry.run_id)
    # What `mlflow gc` would do to the run's own files.
    shutil.rmtree(store_root / "artifacts" / "digits-ipc1" / entry.run_id, ignore_errors=True)
    copy = tracker.download_set(tracker.resolve_set("digits-dm-ipc1@best"), tmp_path / "copy")
    assert len(list(copy.iterdir())) == 4


def test_a_moved_store_gives_an_error_and_not_an_empty_folder(tracker, folder, store_root, tmp_path):
    register(tracker, folder)
    moved = tmp_path / "moved"
    shutil.copytree(store_root, moved)
    shutil.rmtree(store_root / "artifacts")
    with pytest.raises(TrackingError, match="the store was moved"):
        open_tracker(None, moved)


def test_the_version_and_its_files_link_to_each_other(tracker, client, folder):
    entry = register(tracker, folder)
    version = client.get_model_version(entry.name, entry.version)
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert model.model_type == "synthetic-set"
    assert str(model.status) == "READY"
    assert model.source_run_id == entry.run_id
    assert '"digits-dm-ipc1"' in model.tags["mlflow.modelVersions"]
    assert version.run_id == entry.run_id


def test_the_card_is_the_description_without_pictures_it_cannot_reach(tracker, client, folder):
    entry = register(
        tracker, folder, card="# Card\n\n![rows](preview.png)\n\n![logo](https://x.org/a.png)\n\nText"
    )
    description = client.get_model_version(entry.name, entry.version).description
    assert description == "# Card\n\n![logo](https://x.org/a.png)\n\nText"


def test_a_long_card_is_cut(tracker, client, folder):
    entry = register(tracker, folder, card="# Card\n" + "x" * 9000)
    description = client.get_model_version(entry.name, entry.version).description
    assert len(description) <= 5000
    assert description.endswith("README.md")


def test_models_of_others_are_not_listed(tracker, client, folder):
    client.create_registered_model("their-model")
    register(tracker, folder)
    assert [entry.name for entry in tracker.list_sets()] == ["digits-dm-ipc1"]


def test_files_that_cannot_be_stored_leave_no_version(tracker, client, folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(client), "log_model_artifacts", full)
    with pytest.raises(TrackingError, match="No space left"):
        register(tracker, folder)
    assert tracker.list_sets() == []
    experiment = client.get_experiment_by_name("digits-ipc1").experiment_id
    assert [str(model.status) for model in client.search_logged_models([experiment])] == ["FAILED"]


@pytest.mark.parametrize("address", [None, "http://example.invalid"])
def test_the_users_own_tracking_uri_is_left_as_it_was(tracker, folder, monkeypatch, address):
    if address is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    register(tracker, folder)
    assert os.environ.get("MLFLOW_TRACKING_URI") == address


def test_deleting_a_version_takes_its_files_along_unless_another_version_has_them(
    store_root, set_factory, tmp_path
):
    tracker = open_tracker(None, store_root)
    run = tracker.start_run("digits-ipc1", "trial-0")
    folder = set_factory(tmp_path / "a-set")
    for name in ("one", "two"):
        tracker.register_set(folder, name, run_id=run.run_id, tags={}, card="")
    client = tracker._client
    one, two = (client.get_model_version(name, "1") for name in ("one", "two"))
    with _process_uri(tracker.location):
        client.create_model_version("one", two.source, run.run_id)
    stored = set(store_root.rglob("data.safetensors"))
    assert len(stored) == 2
    assert not tracker.delete_set(tracker.resolve_set("two/1")), "one/2 shows the same files"
    assert set(store_root.rglob("data.safetensors")) == stored
    assert tracker.delete_set(tracker.resolve_set("one/1"))
    (left,) = store_root.rglob("data.safetensors")
    assert two.source.removeprefix("models:/") in left.parts
    assert one.source.removeprefix("models:/") not in left.parts
