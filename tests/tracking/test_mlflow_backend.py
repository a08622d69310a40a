"""What only the MLflow tracker does: its tags, its curves, its pictures, its buffer."""

from __future__ import annotations

import json
import math

import pytest
from PIL import Image

from study.core.errors import TrackingError
from study.tracking import recorder as recorder_module
from study.tracking.open import open_tracker

EXPERIMENT = "digits-ipc1"


@pytest.fixture
def tracker(store_root):
    return open_tracker(None, store_root)


@pytest.fixture
def client(tracker):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracker.uri, registry_uri=tracker.uri)


def test_files_lie_below_the_store_wherever_the_process_runs(
    tracker, client, store_root, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = tracker.start_run(EXPERIMENT, "r")
    run.log_text("x", "a.txt")
    assert client.get_run(run.run_id).info.artifact_uri.startswith((store_root / "artifacts").as_uri())
    assert [path.name for path in (store_root / "artifacts").rglob("a.txt")] == ["a.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"mlruns"}


def test_children_hang_below_their_parent_in_colours_of_their_own(tracker, client):
    parent = tracker.start_run(EXPERIMENT, "search")
    children = [
        tracker.start_run(EXPERIMENT, f"trial-{n}", parent=parent.run_id, tags={"study.trial": str(n)})
        for n in range(3)
    ]
    tags = [client.get_run(child.run_id).data.tags for child in children]
    assert {tag["mlflow.parentRunId"] for tag in tags} == {parent.run_id}
    assert len({tag["mlflow.runColor"] for tag in tags}) == 3
    assert "mlflow.runColor" not in client.get_run(parent.run_id).data.tags


def test_curves_keep_every_point(tracker, client):
    run = tracker.start_run(EXPERIMENT, "r")
    for step in range(0, 50, 5):
        run.log_metrics({"match/loss": math.exp(-step)}, step)
    run.finish()
    history = client.get_metric_history(run.run_id, "match/loss")
    assert [(point.step, point.value) for point in history] == [
        (step, math.exp(-step)) for step in range(0, 50, 5)
    ]


def test_metrics_are_sent_in_batches_and_at_least_every_few_seconds(tracker, client, monkeypatch):
    run = tracker.start_run(EXPERIMENT, "r")
    run.log_metrics({"a": 1.0}, 0)
    assert client.get_run(run.run_id).data.metrics == {}
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.0)
    run.log_metrics({"a": 2.0}, 1)
    assert client.get_run(run.run_id).data.metrics == {"a": 2.0}


def test_metrics_that_a_lost_store_refused_are_sent_again(tracker, client, monkeypatch):
    run = tracker.start_run(EXPERIMENT, "r")
    run.log_metrics({"a": 1.0}, 0)

    def lost(*args, **kwargs):
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(type(run._client), "log_batch", lost)
        with pytest.raises(TrackingError, match="connection reset"):
            run.flush()
    run.log_metrics({"a": 2.0}, 1)
    run.finish()
    assert [point.value for point in client.get_metric_history(run.run_id, "a")] == [1.0, 2.0]


def test_a_run_ends_even_if_its_last_numbers_are_refused(tracker, client):
    run = tracker.start_run(EXPERIMENT, "r")
    run.log_metrics({"not/allowed$": 1.0}, 0)
    with pytest.raises(TrackingError):
        run.finish("FAILED")
    assert client.get_run(run.run_id).info.status == "FAILED"


def test_images_are_keyed_by_step(tracker, client):
    run = tracker.start_run(EXPERIMENT, "r")
    for step in (0, 10, 20):
        run.log_image(Image.new("L", (40, 40)), "synthetic_grid", step)
    names = [info.path for info in client.list_artifacts(run.run_id, "images")]
    for step in (0, 10, 20):
        assert sum(f"synthetic_grid+step+{step}+" in name for name in names) == 2
    assert client.get_run(run.run_id).data.tags["mlflow.loggedImages"] == "True"


def test_tables_are_replaced_and_hold_what_json_can(tracker, client):
    run = tracker.start_run(EXPERIMENT, "r")
    run.log_table([{"old": 1}], "trials.json")
    run.log_table([{"trial": 0, "score": float("nan")}, {"trial": 1, "more": "x"}], "trials.json")
    from mlflow.artifacts import load_text

    address = f"{client.get_run(run.run_id).info.artifact_uri}/trials.json"
    table = json.loads(load_text(address))
    assert table == {"columns": ["trial", "score", "more"], "data": [[0, None, None], [1, None, "x"]]}
    logged = json.loads(client.get_run(run.run_id).data.tags["mlflow.loggedArtifacts"])
    assert logged == [{"path": "trials.json", "type": "table"}]


def test_the_real_data_is_an_input_of_the_run(tracker, client):
    run = tracker.start_run(EXPERIMENT, "r")
    run.log_dataset("digits", "0123456789abcdef" * 4, "distillation", {"train": 1257})
    (entry,) = client.get_run(run.run_id).inputs.dataset_inputs
    assert (entry.dataset.name, json.loads(entry.dataset.profile)) == ("digits", {"train": 1257})
    assert "0123456789abcdef".startswith(entry.dataset.digest)
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "distillation")]


def test_a_deleted_experiment_is_explained(tracker, client):
    run = tracker.start_run(EXPERIMENT, "r")
    client.delete_experiment(client.get_run(run.run_id).info.experiment_id)
    fresh = open_tracker(None, tracker.location.database.parent)
    with pytest.raises(TrackingError, match="was deleted"):
        fresh.start_run(EXPERIMENT, "r")


def test_the_linked_table_shows_what_differs_between_trials(tracker, client):
    parent = tracker.start_run(EXPERIMENT, "search")
    for n in range(2):
        run = tracker.start_run(EXPERIMENT, f"trial-{n}", parent=parent.run_id)
        run.log_params({"lr": n, "init": "real"})
        run.finish()
    link = tracker.links(EXPERIMENT, parent.run_id)["runs"]
    key = link.partition("viewStateShareKey=")[2]
    tags = client.get_experiment_by_name(EXPERIMENT).tags
    columns = json.loads(tags[f"mlflow.sharedViewState.{key}"])["selectedColumns"]
    assert "params.`lr`" in columns
    assert "params.`init`" not in columns
    assert "metrics.`objective`" in columns
    assert "tags.`study.on_front`" not in columns


def test_the_linked_table_of_a_front_shows_both_objectives(tracker, client):
    parent = tracker.start_run(EXPERIMENT, "search")
    run = tracker.start_run(EXPERIMENT, "trial-0", parent=parent.run_id, tags={"study.on_front": "true"})
    run.finish()
    tracker.links(EXPERIMENT, parent.run_id)
    tags = client.get_experiment_by_name(EXPERIMENT).tags
    columns = json.loads(tags[f"mlflow.sharedViewState.{parent.run_id}"])["selectedColumns"]
    assert {"metrics.`val/accuracy`", "metrics.`cross/mean`", "tags.`study.on_front`"} <= set(columns)


def test_many_runs_are_found_over_several_pages(tracker, monkeypatch):
    monkeypatch.setattr("study.tracking.stores.PAGE_SIZE", 2)
    for n in range(5):
        tracker.start_run(EXPERIMENT, f"r{n}", tags={"t": "x"})
    assert len(tracker.find_runs(EXPERIMENT, {"t": "x"})) == 5


def test_study_leaves_the_fluent_interface_alone(tracker):
    import mlflow

    before = mlflow.get_tracking_uri()
    tracker.start_run(EXPERIMENT, "r")
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before
