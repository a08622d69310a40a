"""What a search does before its first trial moves an image, and that nothing depends on when baselines are scored."""

import pytest

from study.evaluation.evaluator import Evaluator
from study.evaluation.full_data import FullData
from study.runs import tune as tune_module
from study.runs.config.configure import Request, configure
from study.runs.context.callbacks import Callback
from study.runs.context.stores import StoreOptions
from study.runs.distill import distill
from study.runs.tune import tune


def smoke(method="dm"):
    return configure(Request(method, "digits", 1, "smoke"))


class Events(Callback):
    """Iterations and scores in the order in which they came."""

    def __init__(self):
        self.events = []

    def on_iteration(self, iteration, losses):
        self.events.append(("iteration", iteration))


@pytest.fixture
def events(monkeypatch):
    watching = Events()
    for name in ("score", "random"):
        original = getattr(Evaluator, name)

        def noted(self, *args, name=name, original=original, **more):
            watching.events.append((name, self.model.name))
            return original(self, *args, **more)

        monkeypatch.setattr(Evaluator, name, noted)
    return watching


@pytest.mark.parametrize("run", [tune, distill])
def test_the_first_trial_waits_for_no_baseline(run, events, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    run(smoke(), StoreOptions(root=tmp_path / "mlruns"), events)
    kinds = [kind for kind, _ in events.events]
    assert kinds[:2] == ["iteration", "iteration"]
    assert ("random", "convnet") in events.events
    assert ("random", "mlp") in events.events, "the other architectures are scored in the end"
    # The first trial has made all of its iterations by then.
    last = smoke().distill.num_iterations
    assert events.events.index(("iteration", last)) < kinds.index("random")


def test_a_search_never_trains_on_all_real_data(tmp_path, monkeypatch):
    def refuse(*args, **more):
        raise AssertionError("trained on all real data")

    monkeypatch.setattr(FullData, "score", refuse)
    tune(smoke(), StoreOptions(root=tmp_path / "mlruns"))


@pytest.mark.parametrize("method", ["dm", "pad"])
def test_results_do_not_depend_on_when_baselines_are_scored(method, tmp_path, monkeypatch):
    def search(name):
        # A cache of its own: a kept score would hide how it was made.
        monkeypatch.setenv("STUDY_CACHE", str(tmp_path / name / "cache"))
        result = tune(smoke(method), StoreOptions(root=tmp_path / name / "mlruns"))
        trials = [{**trial, "seconds": None, "run_id": None} for trial in result.trials]
        winner = result.winner
        cross = None if winner.cross is None else winner.cross.metrics()
        return winner.sha256, cross, winner.random.values, winner.random_test.values, trials

    late = search("late")
    prepare = tune_module.prepare

    def with_baselines(*args):
        context, *rest = prepare(*args)
        context.random()
        assert context.pool is not None
        _ = context.pool.random
        return context, *rest

    monkeypatch.setattr(tune_module, "prepare", with_baselines)
    assert search("early") == late
