"""A whole search on real data, a real Optuna storage and a real MLflow store, at the size of a test."""

import json
import subprocess
import sys

import pytest

from study.core.clock import PARTS
from study.core.errors import ConfigError, DataError, SearchError
from study.core.spaces import Choice
from study.protocols.base import EvaluateOptions
from study.runs.catalog.sets import load_set
from study.runs.config.configure import Request, configure
from study.runs.context.saved import resume_config
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.distill import distill
from study.runs.evaluate import evaluate
from study.runs.tune import tune


def smoke(**more):
    return configure(Request("dm", "digits", 1, "smoke", **more))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "mlruns"
    output = root.parent / "copy"
    return root, output, tune(smoke(), StoreOptions(root=root), output=output)


def runs_of(root, search):
    return open_tracking(StoreOptions(root=root)).find_runs(tags={"study.search": search})


RESULT = {
    "search": str, "dataset": str, "method": str, "ipc": int, "budget": str, "trials_finished": int, "trials": list,
    "seconds": float, "winner": dict, "random": dict, "links": dict, "cost": dict, "tracking_seconds": float,
    "objective": str, "front": list, "finalists": list, "choice": str,
}  # fmt: skip
WINNER = {
    "trial": int, "run_id": str, "set": str, "params": dict, "metric": str, "val_accuracy": float,
    "val_accuracy_std": float, "test_accuracy": float, "test_accuracy_std": float, "n": int,
    "start_val_accuracy": float, "relative_change": float, "sha256": str, "is_best": bool, "note": str,
    "near_copies": int, "objectives": dict, "cross": dict, "fit": bool, "faults": list, "warnings": list,
}  # fmt: skip


def test_json_has_the_promised_keys_and_says_what_is_registered(searched):
    root, _, result = searched
    plain = json.loads(json.dumps(result.plain(), allow_nan=False))
    assert {key: type(value) for key, value in plain.items()} == RESULT
    winner, random = plain["winner"], plain["random"]
    assert {key: type(value) for key, value in winner.items()} == WINNER
    assert set(random) == {
        "val_accuracy",
        "val_accuracy_std",
        "test_accuracy",
        "test_accuracy_std",
        "n",
        "cross",
    }
    registered = open_tracking(StoreOptions(root=root)).resolve_set("digits-dm-ipc1@best")
    assert (winner["set"], winner["is_best"]) == (f"{registered.name}/{registered.version}", True)
    assert winner["run_id"] == registered.run_id
    manifest = load_set(winner["set"], StoreOptions(root=root)).manifest
    assert manifest.files["data.safetensors"].sha256 == winner["sha256"]
    for key, split in (("val_accuracy", "validation"), ("test_accuracy", "test")):
        for row, name in ((winner, split), (random, f"random_{split}")):
            assert (row[key], row[f"{key}_std"]) == pytest.approx(
                (manifest.scores[name].mean, manifest.scores[name].std)
            )
    chosen = plain["trials"][winner["trial"]]
    assert (chosen["trial"], chosen["run_id"], chosen["params"]) == (
        winner["trial"], winner["run_id"], winner["params"],
    )  # fmt: skip
    assert plain["trials_finished"] == len(plain["trials"]) == 2


def test_store_has_a_parent_and_a_child_for_each_trial(searched):
    root, _, result = searched
    runs = runs_of(root, result.search)
    assert {run.status for run in runs} <= {"FINISHED", "KILLED"}
    parent = next(run for run in runs if run.tags["study.kind"] == "search")
    children = [run for run in runs if run.tags["study.kind"] == "trial"]
    assert len(children) == 2
    assert {child.tags["mlflow.parentRunId"] for child in children} == {parent.run_id}
    assert parent.metrics["test/accuracy"] == pytest.approx(result.winner.test.mean)
    winner = next(child for child in children if child.run_id == result.winner.run_id)
    assert "test/accuracy" not in winner.metrics
    assert winner.metrics["val/gain_over_random"] == pytest.approx(
        winner.metrics["objective"] - winner.metrics["random/val_accuracy"]
    )
    assert winner.metrics["synthetic/relative_change"] > 1e-3
    assert float(winner.params["distill.image_lr"]) == pytest.approx(result.winner.params["distill.image_lr"])
    assert "study.git.commit" in parent.tags


def test_parts_of_the_time_add_up_and_are_recorded(searched):
    root, _, result = searched
    cost = result.plain()["cost"]
    assert set(cost) == set(PARTS)
    assert sum(cost.values()) == pytest.approx(result.seconds)
    for part in (
        "loading",
        "start",
        "distill",
        "rungs",
        "scores",
        "baselines",
        "cross",
        "finalists",
        "test",
        "tracking",
    ):
        assert cost[part] > 0, part
    runs = runs_of(root, result.search)
    parent = next(run for run in runs if run.tags["study.kind"] == "search")
    assert parent.metrics["cost/search_seconds"] == pytest.approx(result.seconds)
    for part, seconds in cost.items():
        assert parent.metrics.get(f"cost/{part}_seconds", 0.0) == pytest.approx(seconds), part
    trials = [run for run in runs if run.tags["study.kind"] == "trial"]
    for part in ("start", "distill", "rungs", "scores"):
        spent = sum(run.metrics.get(f"cost/{part}_seconds", 0.0) for run in trials)
        assert spent == pytest.approx(cost[part]), part
    assert not any("cost/loading_seconds" in run.metrics for run in trials)


def test_pictures_and_pages_are_stored(searched, tmp_path):
    root, _, result = searched
    tracker = open_tracking(StoreOptions(root=root))
    grid = tracker.download(result.winner.run_id, "grid.png", tmp_path)
    assert grid.read_bytes().startswith(b"\x89PNG")
    steps = list(tracker.download(result.winner.run_id, "images", tmp_path).iterdir())
    assert len([path for path in steps if path.suffix == ".png"]) == 4, "start, two rungs, end"
    parent = next(run for run in runs_of(root, result.search) if run.tags["study.kind"] == "search")
    page = tracker.download(parent.run_id, "compare.html", tmp_path).read_text()
    assert page.count("data:image/png;base64,") >= 2


def test_registered_copied_and_loaded_sets_are_the_same(searched):
    root, output, result = searched
    uri = f"sqlite:///{root.resolve()}/mlflow.db"
    loaded = load_set("digits-dm-ipc1@best", StoreOptions(tracking_uri=uri))
    copied = load_set(str(output), StoreOptions())
    for stored in (loaded, copied):
        assert stored.manifest.files["data.safetensors"].sha256 == result.winner.sha256
    assert loaded.images.shape == (10, 1, 8, 8)
    assert loaded.labels.tolist() == list(range(10))
    assert loaded.manifest.scores["test"].mean == pytest.approx(result.winner.test.mean)
    assert loaded.manifest.scores["random_test"].n == result.winner.random_test.n


def test_stored_set_scores_again(searched):
    root, output, _ = searched
    options = EvaluateOptions(num_seeds=2, pool="none", full_data=False)
    evaluation = evaluate(str(output), options, StoreOptions(root=root))
    assert evaluation.n == 2
    (row,) = evaluation.rows
    assert 0 <= row["distilled"] <= 1
    run = open_tracking(StoreOptions(root=root)).get_run(evaluation.run_id)
    assert run.tags["study.split"] == "validation"
    assert run.metrics["val/accuracy"] == pytest.approx(row["distilled"])


SAME = """
from pathlib import Path
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions
from study.runs.tune import tune
config = configure(Request("dm", "digits", 1, "smoke"))
print(tune(config, StoreOptions(root=Path({root!r}))).winner.sha256)
"""


def test_same_seed_same_bytes_in_another_process(searched, tmp_path):
    _, _, result = searched
    code = SAME.format(root=str(tmp_path / "mlruns"))
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == result.winner.sha256


def test_interrupted_search_ends_with_the_trials_asked_for_and_the_same_winner(
    searched, tmp_path, interrupt_at
):
    _, _, undisturbed = searched
    root = tmp_path / "mlruns"
    with pytest.raises(KeyboardInterrupt):
        tune(smoke(), StoreOptions(root=root), interrupt_at(1), name="s")
    stores = StoreOptions(root=root)
    assert "RUNNING" not in {run.status for run in runs_of(root, "s")}
    config = resume_config("s", stores, {"method": "dm", "ipc": 1})
    result = tune(config, StoreOptions(root=root), resume="s")
    assert result.trials_finished == 2
    assert {run.status for run in runs_of(root, "s")} <= {"FINISHED", "KILLED"}
    assert result.winner.sha256 == undisturbed.winner.sha256
    with pytest.raises(SearchError, match=r"has ipc = 1, asked is 2"):
        resume_config("s", stores, {"ipc": 2})
    with pytest.raises(SearchError, match="no search is named 't'"):
        resume_config("t", stores, {})


def test_diverging_trial_fails_and_the_search_goes_on(tmp_path):
    root = tmp_path / "mlruns"
    space = {"distill.image_lr": Choice(choices=(1e9, 1.0)), "distill.momentum": None, "distill.init": None}
    config = smoke(space=space, overrides={"search": {"num_trials": 3, "pruner": "none"}})
    result = tune(config, StoreOptions(root=root), name="s")
    ends = {trial["outcome"]: trial for trial in result.trials}
    assert set(ends) == {"COMPLETE", "DIVERGED"}
    assert result.trials_finished == 3
    failed = next(run for run in runs_of(root, "s") if run.run_id == ends["DIVERGED"]["run_id"])
    assert failed.status == "FAILED"
    assert "iteration" in failed.tags["study.error"]


def test_search_without_a_completed_trial_says_what_to_do(tmp_path):
    space = {"distill.image_lr": Choice(choices=(1e9, 1e10)), "distill.momentum": None, "distill.init": None}
    with pytest.raises(SearchError, match=r"no trial of .* completed \(diverged\)"):
        tune(
            smoke(space=space, overrides={"distill": {"image_lr": 1e9}}),
            StoreOptions(root=tmp_path / "mlruns"),
        )


def test_nothing_is_written_before_the_request_is_sound(tmp_path):
    root = tmp_path / "mlruns"
    with pytest.raises(DataError, match="ipc 500"):
        tune(configure(Request("dm", "digits", 500, "smoke")), StoreOptions(root=root))
    with pytest.raises(ConfigError, match="nothing to search"):
        tune(configure(Request("random", "digits", 1, "smoke")), StoreOptions(root=root))
    assert not root.exists()


def test_best_moves_only_to_a_better_set_and_another_seed_gives_another_one(tmp_path):
    stores = StoreOptions(root=tmp_path / "mlruns")
    first, again, other = (
        distill(configure(Request("random", "digits", 2, "smoke", seed=seed)), stores) for seed in (0, 0, 1)
    )
    assert first.winner.set == "digits-random-ipc2/1"
    assert first.winner.relative_change == 0.0
    assert first.winner.is_best
    assert not again.winner.is_best
    assert "stays best" in again.winner.note
    assert first.winner.sha256 == again.winner.sha256 != other.winner.sha256
    best = open_tracking(stores).resolve_set("digits-random-ipc2@best")
    is_better = other.winner.score.mean > first.winner.score.mean
    assert best.version == ("3" if is_better else "1")
