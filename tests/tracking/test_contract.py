"""What every tracker keeps to, whatever it stores things in."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure
from memory_tracker import MemoryTracker
from PIL import Image

from study.core.errors import ConfigError, StudyError, TrackingError, UnknownSetError
from study.tracking.open import open_tracker

EXPERIMENT = "digits-ipc1"


@pytest.fixture(params=["memory", "sqlite"])
def tracker(request, store_root):
    return MemoryTracker() if request.param == "memory" else open_tracker(None, store_root)


@pytest.fixture
def run(tracker):
    return tracker.start_run(EXPERIMENT, "trial-0", tags={"study.kind": "trial"})


@pytest.fixture
def folder(tmp_path, set_factory):
    return set_factory(tmp_path / "a-set")


def register(tracker, folder, run, **more):
    facts = {"run_id": run.run_id, "tags": {"method": "dm"}, "card": "# Card", **more}
    return tracker.register_set(folder, facts.pop("name", "digits-dm-ipc1"), **facts)


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def test_a_run_keeps_what_was_logged(tracker, run):
    run.log_params({"distill.image_lr": 0.5, "init": "real", "nothing": None})
    run.log_metrics({"match/loss": 2.0}, 0)
    run.log_metrics({"match/loss": 1.0, "objective": 0.8}, 10)
    run.set_tags({"optuna.state": "COMPLETE"})
    run.finish()
    info = tracker.get_run(run.run_id)
    assert (info.name, info.status, info.experiment) == ("trial-0", "FINISHED", EXPERIMENT)
    assert info.params == {"distill.image_lr": "0.5", "init": "real", "nothing": "None"}
    assert info.metrics == {"match/loss": 1.0, "objective": 0.8}
    assert {"study.kind": "trial", "optuna.state": "COMPLETE"}.items() <= info.tags.items()


def test_the_latest_metric_is_that_of_the_highest_step(tracker, run):
    run.log_metrics({"loss": 1.0}, 10)
    run.log_metrics({"loss": 3.0}, 5)
    run.finish()
    assert tracker.get_run(run.run_id).metrics["loss"] == 1.0


def test_long_and_many_values_are_taken(tracker, run):
    run.log_params({f"p{number:03d}": number for number in range(230)} | {"long": "x" * 20_000})
    for step in range(1300):
        run.log_metrics({"a": step, "b": -step}, step)
    run.set_tags({"long": "y" * 20_000})
    run.finish()
    info = tracker.get_run(run.run_id)
    assert len(info.params) == 231
    assert info.params["long"].startswith("xxx")
    assert len(info.params["long"]) <= 6000
    assert info.params["long"].endswith("…")
    assert info.metrics == {"a": 1299.0, "b": -1299.0}
    assert info.tags["long"].startswith("yyy")


def test_a_parameter_cannot_change(tracker, run):
    run.log_params({"lr": 1})
    run.log_params({"lr": 1})
    with pytest.raises(TrackingError, match="lr"):
        run.log_params({"lr": 2})


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_statuses_and_a_second_finish(tracker, run, status):
    assert tracker.get_run(run.run_id).status == "RUNNING"
    run.finish(status)
    run.finish("KILLED" if status == "FINISHED" else "FINISHED")
    assert tracker.get_run(run.run_id).status == status, "a second call does nothing"


def test_resumed_runs_run_again(tracker, run):
    run.finish("KILLED")
    again = tracker.resume_run(run.run_id)
    assert again.run_id == run.run_id
    assert tracker.get_run(run.run_id).status == "RUNNING"
    again.log_metrics({"objective": 0.5})
    again.finish()
    info = tracker.get_run(run.run_id)
    assert (info.status, info.metrics) == ("FINISHED", {"objective": 0.5})


def test_a_finished_run_can_be_tagged_again(tracker, run):
    run.set_tags({"study.on_front": "true", "other": "1"})
    run.finish("KILLED")
    tracker.tag_run(run.run_id, {"study.on_front": "false"})
    info = tracker.get_run(run.run_id)
    assert info.status == "KILLED"
    assert (info.tags["study.on_front"], info.tags["other"]) == ("false", "1")


@pytest.mark.parametrize("run_id", ["0" * 32, "not-an-id"])
def test_unknown_runs(tracker, run_id, tmp_path):
    for call in (
        lambda: tracker.get_run(run_id),
        lambda: tracker.resume_run(run_id),
        lambda: tracker.tag_run(run_id, {}),
        lambda: tracker.download(run_id, "x", tmp_path),
    ):
        with pytest.raises(UnknownSetError, match=run_id):
            call()


def test_runs_are_found_by_experiment_and_tags_newest_first(tracker):
    parent = tracker.start_run(EXPERIMENT, "search", tags={"study.search": "it's 1"})
    children = [
        tracker.start_run(EXPERIMENT, f"trial-{n}", parent=parent.run_id, tags={"study.trial": str(n)})
        for n in range(3)
    ]
    other = tracker.start_run("mnist-ipc10", "trial-0", tags={"study.trial": "0"})
    found = tracker.find_runs(EXPERIMENT, {"mlflow.parentRunId": parent.run_id})
    assert {info.run_id for info in found} == {child.run_id for child in children}
    assert [info.name for info in tracker.find_runs(tags={"study.search": "it's 1"})] == ["search"]
    assert {info.run_id for info in tracker.find_runs(tags={"study.trial": "0"})} == {
        children[0].run_id,
        other.run_id,
    }
    assert len(tracker.find_runs()) == 5
    assert tracker.find_runs("no-such-experiment") == []
    assert tracker.find_runs(tags={"study.trial": "9"}) == []


def test_stale_runs_end_as_killed_and_others_are_left(tracker):
    tags = {"study.search": "s"}
    stale, kept, done = (tracker.start_run(EXPERIMENT, name, tags=tags) for name in ("stale", "kept", "done"))
    other = tracker.start_run(EXPERIMENT, "other", tags={"study.search": "t"})
    done.finish()
    assert tracker.end_stale_runs(tags, keep=frozenset({kept.run_id})) == [stale.run_id]
    statuses = [tracker.get_run(r.run_id).status for r in (stale, kept, done, other)]
    assert statuses == ["KILLED", "RUNNING", "FINISHED", "RUNNING"]
    assert tracker.end_stale_runs(tags, keep=frozenset({kept.run_id})) == []


def test_files_folders_and_text_come_back(tracker, run, tmp_path, folder):
    note = tmp_path / "note.txt"
    note.write_text("hello")
    run.log_file(note)
    run.log_file(note, "deep/er")
    run.log_file(folder)
    run.log_file(folder, "synthetic_set")
    run.log_text("<p>", "compare.html")
    names = {path.name for path in folder.iterdir()}
    out = tmp_path / "out"
    assert tracker.download(run.run_id, "note.txt", out).read_text() == "hello"
    assert tracker.download(run.run_id, "deep/er/note.txt", out).read_text() == "hello"
    assert tracker.download(run.run_id, "compare.html", out).read_text() == "<p>"
    for place in ("a-set", "synthetic_set"):
        copy = tracker.download(run.run_id, place, out)
        assert copy.name == place
        assert out in copy.parents
        assert {path.name for path in copy.iterdir()} == names
        assert all((copy / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_an_artifact_that_is_not_there_is_an_error_not_an_empty_folder(tracker, run, tmp_path):
    with pytest.raises(UnknownSetError, match="no artifact 'synthetic_set'"):
        tracker.download(run.run_id, "synthetic_set", tmp_path / "out")


def test_images_figures_tables_and_datasets_are_taken(tracker, run, tmp_path):
    for step in (0, 5):
        run.log_image(Image.new("RGB", (30, 20), "red"), "synthetic_grid", step)
    run.log_table([{"trial": 0, "score": 0.5}, {"trial": 1, "state": "FAIL"}], "trials.json")
    run.log_dataset("digits", "f" * 64, "distillation", {"train": 100, "classes": ["0", "1"]})
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    run.log_figure(figure, "curve.png", dpi=50)
    run.log_figure(Image.new("L", (7, 9)), "grid.png")
    table = json.loads(tracker.download(run.run_id, "trials.json", tmp_path).read_text())
    assert table == {"columns": ["trial", "score", "state"], "data": [[0, 0.5, None], [1, None, "FAIL"]]}
    for name, size in {"curve.png": (100, 50), "grid.png": (7, 9)}.items():
        assert picture_size(tracker.download(run.run_id, name, tmp_path)) == size
    pictures = list(tracker.download(run.run_id, "images", tmp_path).glob("synthetic_grid+step+5*.png"))
    assert [picture_size(picture) for picture in pictures] == [(30, 20)]


def test_versions_count_up_and_aliases_move(tracker, run, folder):
    first = register(tracker, folder, run, alias="best")
    second = register(tracker, folder, run)
    assert (first.version, first.aliases, second.version, second.aliases) == ("1", ("best",), "2", ())
    assert tracker.resolve_set("digits-dm-ipc1").version == "1"
    tracker.set_alias("digits-dm-ipc1", "best", "2")
    resolved = tracker.resolve_set("digits-dm-ipc1@best")
    assert (resolved.version, resolved.aliases) == ("2", ("best",))
    assert resolved.run_id == run.run_id
    assert resolved.tags["method"] == "dm"
    assert tracker.resolve_set("digits-dm-ipc1/1").aliases == ()


def test_sets_are_listed_newest_first(tracker, run, folder):
    assert tracker.list_sets() == []
    register(tracker, folder, run)
    register(tracker, folder, run, name="mnist-dm-ipc10")
    register(tracker, folder, run)
    assert [entry.version for entry in tracker.list_sets("digits-dm-ipc1")] == ["2", "1"]
    assert len(tracker.list_sets()) == 3
    assert tracker.list_sets("nothing") == []


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digits-dm-ipc2", "Did you mean 'digits-dm-ipc1'"),
        ("digits-dm-ipc1@worst", "no alias 'worst'"),
        ("digits-dm-ipc1/7", "no version 7"),
        ("a b", "no reference"),
    ],
)
def test_references_that_mean_nothing(tracker, run, folder, reference, message):
    register(tracker, folder, run, alias="best")
    with pytest.raises(UnknownSetError, match=message):
        tracker.resolve_set(reference)


@pytest.mark.parametrize("more", [{"name": "a/b"}, {"name": ""}, {"alias": "latest"}, {"alias": "v1"}])
def test_names_that_cannot_be_registered_leave_nothing(tracker, run, folder, more):
    with pytest.raises(ConfigError):
        register(tracker, folder, run, **more)
    assert tracker.list_sets() == []


def test_aliases_point_at_versions_that_exist(tracker, run, folder):
    register(tracker, folder, run)
    for name, version in (("digits-dm-ipc1", "5"), ("nothing", "1")):
        with pytest.raises(StudyError):
            tracker.set_alias(name, "best", version)


def test_a_registered_set_comes_back_byte_for_byte(tracker, run, folder, tmp_path):
    entry = register(tracker, folder, run)
    copy = tracker.download_set(entry, tmp_path / "new" / "copy")
    assert {path.name for path in copy.iterdir()} == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes()


def test_links_are_addresses(tracker, run):
    links = tracker.links(EXPERIMENT, run.run_id)
    assert {"runs", "charts", "sets", "search"} <= set(links)
    assert all(link.startswith("http") for link in links.values())
    assert json.loads(json.dumps(links)) == links


def test_tags_of_a_version_are_set_and_replaced(tracker, folder, run):
    version = register(tracker, folder, run)
    tracker.tag_set(version, {"promoted_reason": "first", "promoted_against": ""})
    tracker.tag_set(version, {"promoted_reason": "second"})
    tags = tracker.resolve_set("digits-dm-ipc1/1").tags
    expected = {"promoted_reason": "second", "promoted_against": "", "method": "dm"}
    assert expected.items() <= tags.items()


def test_a_deleted_version_is_gone_with_its_alias_and_the_others_stay(tracker, folder, run, tmp_path):
    first = register(tracker, folder, run, alias="best")
    register(tracker, folder, run)
    assert tracker.delete_set(tracker.resolve_set("digits-dm-ipc1/1"))
    assert [(entry.version, entry.aliases) for entry in tracker.list_sets()] == [("2", ())]
    with pytest.raises(UnknownSetError):
        tracker.resolve_set("digits-dm-ipc1/1")
    with pytest.raises(StudyError):
        tracker.delete_set(first)
    tracker.download_set(tracker.resolve_set("digits-dm-ipc1/2"), tmp_path / "copy")
    assert (tmp_path / "copy/data.safetensors").is_file()
    assert register(tracker, folder, run).version == "3"
