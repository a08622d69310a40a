"""PAD from the plan to the registered set: experts are priced, trained once, counted, and shared by trials."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from study.cli.app import app
from study.core.errors import DataError
from study.core.spaces import Choice
from study.methods.experts.store import ExpertStore
from study.runs.catalog.sets import load_set
from study.runs.config.configure import Request, configure
from study.runs.context.callbacks import Callback
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.plan import plan
from study.runs.tune import tune


class Watching(Callback):
    def __init__(self):
        self.work, self.warnings, self.trials = {}, [], []

    def on_work(self, what, done, total):
        self.work.setdefault(what, []).append((done, total))

    def on_warning(self, text):
        self.warnings.append(text)

    def on_trial_start(self, number, params, num_iterations):
        self.trials.append(number)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    root = tmp_path_factory.mktemp("pad") / "mlruns"
    held = {"distill.schedule.initial_fraction": None}
    config = configure(Request("pad", "digits", 1, "smoke", seed=5, space=held))
    watching = Watching()
    planned = plan(config, StoreOptions(root=root))
    result = tune(config, StoreOptions(root=root), watching)
    return root, config, planned, result, watching


def runs_of(searched, kind):
    root, _, _, result, _ = searched
    runs = open_tracking(StoreOptions(root=root)).find_runs(tags={"study.search": result.search})
    return sorted((run for run in runs if run.tags["study.kind"] == kind), key=lambda run: run.name)


def test_plan_prices_experts_without_training_any(searched):
    planned = searched[2]
    assert planned.preparation["experts"] == planned.preparation["to_build"] == 1
    assert planned.preparation["variants"] == 1
    assert planned.preparation["estimated_seconds"] > 0
    assert planned.estimated_seconds > planned.preparation["estimated_seconds"]


def test_plan_counts_the_ways_of_training_experts():
    wide = configure(Request("pad", "digits", 1, "smoke"))
    assert plan(wide, StoreOptions()).preparation["variants"] == 3
    other = {"distill.experts.lr": Choice(choices=(0.01, 0.02))}
    wider = configure(Request("pad", "digits", 1, "smoke", space=other))
    assert plan(wider, StoreOptions()).preparation["variants"] == 6


def test_a_limit_that_is_too_small_is_said_before_and_trains_no_set_twice(memory_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STUDY_CACHE_GB", "0.0001")
    schedule = "distill.schedule.initial_fraction"
    space = {
        **dict.fromkeys(configure(Request("pad", "digits", 1, "smoke")).space),
        schedule: Choice(choices=(0.5, 0.75)),
    }
    config = configure(
        Request("pad", "digits", 1, "smoke", space=space, overrides={"search": {"num_trials": 5}})
    )
    stores = StoreOptions(root=tmp_path / "mlruns", tracking_uri=memory_uri)
    shortage = plan(config, stores).preparation["shortage"]
    assert "experts may need 2 sets" in shortage
    assert "STUDY_CACHE_GB=1 keeps them" in shortage
    watching = Watching()
    tune(config, stores, watching)
    assert watching.warnings[0] == shortage
    built = {
        run.params[schedule]: [] for run in open_tracking(stores).find_runs(tags={"study.kind": "trial"})
    }
    assert len(built) == 2, "else the limit is not felt"
    for run in open_tracking(stores).find_runs(tags={"study.kind": "trial"}):
        built[run.params[schedule]].append(run.metrics["cost/experts_built"])
    assert {key: sum(counts) for key, counts in built.items()} == dict.fromkeys(built, 1)
    assert ExpertStore().entries() == []
    monkeypatch.setenv("STUDY_CACHE_GB", "1")
    assert plan(config, stores).preparation["shortage"] is None


def test_a_disk_that_does_not_take_one_set_is_refused_before_the_first_trial(
    memory_uri, tmp_path, monkeypatch
):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ExpertStore, "free", lambda self: 1000)
    config = configure(Request("pad", "digits", 1, "smoke"))
    watching = Watching()
    with pytest.raises(DataError, match="set STUDY_CACHE to a folder on a larger disk"):
        tune(config, StoreOptions(root=tmp_path / "mlruns", tracking_uri=memory_uri), watching)
    assert watching.trials == []


def test_the_command_line_tells_a_shortage_with_the_plan(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STUDY_CACHE_GB", "0")
    words = ["tune", "--method", "pad", "--budget", "smoke", "--dry-run"]
    told = CliRunner().invoke(app, words, env={"COLUMNS": "300"}).stdout
    planned = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert planned["preparation"]["shortage"].startswith("experts may need 2 sets")
    assert "STUDY_CACHE_GB=1 keeps them" in " ".join(told.split())


def test_trials_share_experts_and_say_what_they_cost(searched):
    trials = runs_of(searched, "trial")
    assert [run.metrics["cost/experts_built"] for run in trials] == [1, 0]
    assert trials[0].metrics["cost/experts_seconds"] > trials[1].metrics["cost/experts_seconds"]
    assert trials[0].tags["study.experts"] == trials[1].tags["study.experts"]
    assert 0 < trials[0].metrics["experts/train_accuracy"] <= 1


def test_whatever_takes_long_is_told_to_the_listener(searched):
    told = searched[4].work
    for what in ("training experts", "trying step sizes", "random real images", "learning rate of mlp",
                 "random real images on mlp, lenet", "scoring a trial", "scoring 1 finalist", "scoring on mlp, lenet",
                 "scoring on test"):  # fmt: skip
        assert told[what][0][0] == 0, what
        assert told[what][-1][0] == told[what][-1][1] > 0, what
        assert any(0 < done < total for done, total in told[what]), what


def test_difficulty_is_pictured_with_the_search(searched, tmp_path):
    (parent,) = runs_of(searched, "search")
    tracker = open_tracking(StoreOptions(root=searched[0]))
    for name in ("difficulty/histogram.png", "difficulty/easiest_then_hardest.png"):
        with Image.open(tracker.download(parent.run_id, name, tmp_path)) as picture:
            assert min(picture.size) > 100


def test_registered_set_carries_labels_and_step_size(searched):
    root, _, _, result, _ = searched
    assert result.winner.set == "digits-pad-ipc1/1"
    synthetic = load_set(result.winner.set, StoreOptions(root=root)).synthetic
    assert synthetic.logits is not None
    assert synthetic.logits.shape == (10, 10)
    assert synthetic.step_size is not None
    assert synthetic.step_size > 0
    (parent,) = runs_of(searched, "search")
    assert parent.metrics["test/accuracy"] == pytest.approx(result.winner.test.mean)


def test_mhist_is_searched_at_a_smaller_resolution(mhist_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ["tune", "--method", "pad", "--dataset", "mhist", "--resolution", "32", "--budget", "smoke"]
    result = CliRunner().invoke(app, [*words, "--trials", "1", "--json", "--data-root", str(mhist_root)])
    assert result.exit_code == 0, result.output
    result = json.loads(result.stdout)
    assert result["winner"]["set"] == "mhist-pad-ipc1-32px/1"
    assert result["winner"]["metric"] == "balanced_accuracy"
