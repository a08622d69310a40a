"""The cross-architecture score of a trial, and a search that raises it."""

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.runs.catalog.sets import load_set
from study.runs.config.configure import Request, configure
from study.runs.context.run_context import open_context
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.plan import plan
from study.runs.tune import tune


def smoke(**search):
    return configure(Request("dm", "digits", 1, "smoke", overrides={"search": search}))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "mlruns"
    config = smoke(objective="cross-arch", cross_models=["mlp:16"], num_cross_seeds=2)
    return root, tune(config, StoreOptions(root=root))


def trials(root, result):
    runs = open_tracking(StoreOptions(root=root)).find_runs(tags={"study.search": result.search})
    return [run for run in runs if run.tags["study.kind"] == "trial"]


def test_every_finished_trial_has_the_score_and_the_search_raises_it(searched):
    root, result = searched
    finished = [run for run in trials(root, result) if run.status == "FINISHED"]
    assert finished
    for run in finished:
        assert run.metrics["cross/mlp"] == run.metrics["cross/mean"] == run.metrics["cross/worst"]
        assert run.metrics["objective"] == run.metrics["cross/mean"]
        assert run.metrics["val/accuracy"] != run.metrics["cross/mean"]
        assert run.metrics["cost/cross_seconds"] > 0
        assert 0 < run.metrics["cost/cross_share"] < 1
        assert 0 < run.metrics["random/cross_mean"] < 1
    # Scored again, by networks of its own.
    assert result.winner.cross_mean not in {run.metrics["cross/mean"] for run in finished}
    for trial in result.trials:
        if trial["outcome"] == "COMPLETE":
            assert trial["objective"] == trial["cross_mean"] != trial["val_accuracy"]


def test_the_registered_set_states_the_score_beside_random_images(searched):
    root, result = searched
    manifest = load_set(result.winner.set, StoreOptions(root=root)).manifest
    assert manifest.cross.distilled == result.winner.cross.metrics()
    assert set(manifest.cross.random) == set(manifest.cross.distilled)
    assert manifest.cross.n == 2
    assert manifest.full_data is None
    random = {run.metrics["random/cross_mean"] for run in trials(root, result) if run.status == "FINISHED"}
    assert {manifest.cross.random["mean"]} == random


@pytest.mark.parametrize(
    ("objective", "scores"),
    [("accuracy", 2 + 1), ("cross-arch", 2 * 2 + 1), ("accuracy,cross-arch", 2 + 1)],
)
def test_a_plan_counts_the_networks_of_the_pool(objective, scores):
    config = smoke(objective=objective, cross_models=["mlp:16", "resnet18:8"], num_cross_seeds=3, rungs=[0.5])
    planned = plan(config, StoreOptions())
    # Two trials, the rung of each, one finalist, two draws of random images; the MLP's rate is chosen among four.
    assert planned.cross == {"mlp": 3 * scores + 2 + 8, "resnet18": 3 * scores + 2}
    assert planned.estimated_seconds == pytest.approx(sum(planned.parts.values()))
    assert planned.parts["other architectures"] > 0


def test_a_plan_without_a_pool_has_no_such_line():
    assert plan(smoke(num_cross_seeds=0), StoreOptions()).cross is None


def test_accuracy_stays_the_objective_by_default():
    config = smoke()
    assert config.search.objective == "accuracy"
    pool = open_context(config, None).pool
    assert pool is not None
    assert set(pool.models) == {"mlp", "lenet"}


def test_score_can_be_left_out():
    assert open_context(smoke(num_cross_seeds=0), None).pool is None
    assert open_context(smoke(cross_models=["convnet"]), None).pool is None


def test_pools_that_cannot_be_are_refused():
    with pytest.raises(UnknownNameError, match="lenet"):
        open_context(smoke(cross_models=["lenett"]), None)
    with pytest.raises(ConfigError, match="other than 'convnet'"):
        open_context(smoke(objective="cross-arch", cross_models=["convnet"]), None)
    with pytest.raises(ConfigError, match="num_cross_seeds"):
        open_context(smoke(objective="cross-arch", num_cross_seeds=0), None)
