"""The cross-architecture score of a trial, and a search that raises it."""

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.runs.configure import Request, configure
from study.runs.stores import StoreOptions, open_tracking
from study.runs.tune import TuneOptions, tune
from study.runs.workspace import open_workspace


def smoke(**search):
    return configure(Request("dm", "digits", 1, "smoke", overrides={"search": search}))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "mlruns"
    config = smoke(objective="cross-arch", cross_models=["mlp:16"], num_cross_seeds=2)
    return root, tune(config, TuneOptions(StoreOptions(root=root)))


def trials(root, outcome):
    runs = open_tracking(StoreOptions(root=root)).find_runs(tags={"study.search": outcome.search})
    return [run for run in runs if run.tags["study.kind"] == "trial"]


def test_every_finished_trial_has_the_score_and_the_search_raises_it(searched):
    root, outcome = searched
    finished = [run for run in trials(root, outcome) if run.status == "FINISHED"]
    assert finished
    for run in finished:
        assert run.metrics["cross/mlp"] == run.metrics["cross/mean"] == run.metrics["cross/worst"]
        assert run.metrics["objective"] == run.metrics["cross/mean"]
        assert run.metrics["val/accuracy"] != run.metrics["cross/mean"]
        assert run.metrics["cost/cross_seconds"] > 0
        assert 0 < run.metrics["random/cross_mean"] < 1
    assert outcome.winner.cross["mean"] in {run.metrics["cross/mean"] for run in finished}
    for trial in outcome.trials:
        if trial["outcome"] == "COMPLETE":
            assert trial["objective"] == trial["cross_mean"] != trial["val_accuracy"]


def test_accuracy_stays_the_objective_by_default():
    config = smoke()
    assert config.search.objective == "accuracy"
    pool = open_workspace(config, None).cross
    assert pool is not None
    assert set(pool.pool) == {"mlp", "lenet"}


def test_score_can_be_left_out():
    assert open_workspace(smoke(num_cross_seeds=0), None).cross is None
    assert open_workspace(smoke(cross_models=["convnet"]), None).cross is None


def test_pools_that_cannot_be_are_refused():
    with pytest.raises(UnknownNameError, match="lenet"):
        open_workspace(smoke(cross_models=["lenett"]), None)
    with pytest.raises(ConfigError, match="other than 'convnet'"):
        open_workspace(smoke(objective="cross-arch", cross_models=["convnet"]), None)
    with pytest.raises(ConfigError, match="num_cross_seeds"):
        open_workspace(smoke(objective="cross-arch", num_cross_seeds=0), None)
