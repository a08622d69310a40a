"""Evaluation where it decides: few networks and updates for trials, all of the protocol for what is registered."""

import pytest

from study.methods.base import find_method
from study.runs.catalog.sets import load_set
from study.runs.config.configure import Request, configure
from study.runs.context.run_context import open_context
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.distill import distill
from study.runs.tune import tune
from study.search.racing import may_become_finalist

RACE = {
    "num_trials": 5, "num_trial_seeds": 4, "num_first_seeds": 2, "num_finalists": 1, "num_cross_seeds": 0,
    "pruner": "none", "sampler": "random",
}  # fmt: skip
STEPS = {"num_score_steps": 8}


def smoke(**search):
    return configure(Request("dm", "digits", 1, "smoke", overrides={"search": search}))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A race by its name, run once."""
    known = {}

    def search(name, **settings):
        if name not in known:
            stores = StoreOptions(root=tmp_path_factory.mktemp(name) / "mlruns")
            known[name] = stores, tune(smoke(**settings), stores)
        return known[name]

    return search


def trials_of(stores, result):
    runs = open_tracking(stores).find_runs(tags={"study.search": result.search})
    trials = [run for run in runs if run.tags["study.kind"] == "trial"]
    return sorted(trials, key=lambda run: int(run.tags["study.trial"]))


def test_only_trials_that_may_win_get_all_networks(searched):
    _, raced = searched("raced", **RACE)
    _, full = searched("full", **{**RACE, "num_first_seeds": None})
    counts = [trial["num_seeds"] for trial in raced.trials]
    assert counts[0] == 4, "nobody is there to beat"
    assert set(counts) == {2, 4}, "some are spared, some are not"
    assert [trial["num_seeds"] for trial in full.trials] == [4] * 5
    for one, other in zip(raced.trials, full.trials, strict=True):
        assert one["params"] == other["params"]
        if one["num_seeds"] == 4:
            # Networks that are stacked otherwise round otherwise.
            assert one["val_accuracy"] == pytest.approx(other["val_accuracy"], abs=0.02)


def test_the_rule_decided_given_the_trials_before(searched):
    stores, raced = searched("raced", **RACE)
    context = open_context(smoke(**RACE), None)
    scorer, finished = context.scorer("trial"), []
    for trial in raced.trials:
        synthetic = load_set(trial["run_id"], stores).synthetic
        first = scorer.score(synthetic, 2)
        wins = may_become_finalist(first.values, finished, 1)
        assert trial["num_seeds"] == (4 if wins else 2)
        score = scorer.extend(synthetic, first, 4) if wins else first
        assert trial["val_accuracy"] == trial["objective"] == pytest.approx(score.mean)
        finished.append(score.values)


def test_what_is_registered_has_all_networks(searched):
    stores, raced = searched("raced", **RACE)
    trials = trials_of(stores, raced)
    assert [run.metrics["val/num_seeds"] for run in trials] == [trial["num_seeds"] for trial in raced.trials]
    assert raced.winner.score.n == raced.winner.test.n == smoke().search.num_finalist_seeds
    assert raced.winner.start_score.n in {2, 4}
    assert raced.trials[raced.winner.trial]["num_seeds"] == 4


def test_other_objectives_do_not_race():
    assert smoke(**RACE).search.races
    assert not smoke(**{**RACE, "objective": "accuracy,cross-arch", "num_cross_seeds": 1}).search.races
    assert not smoke(**{**RACE, "num_first_seeds": 4}).search.races


def test_fewer_updates_score_trials_and_random_images_beside_them(searched):
    brief, full = (open_context(smoke(**settings), None) for settings in (STEPS, {}))
    assert brief.scores_are_brief
    assert not full.scores_are_brief
    for purpose in ("rung", "trial"):
        assert brief.scorer(purpose).config.resolve().num_steps == 8
        assert full.scorer(purpose).config.resolve().num_steps == 30
    for purpose in ("finalist", "test"):
        assert brief.scorer(purpose).config == full.scorer(purpose).config
    assert brief.random().values == full.random().values, "there is one baseline"
    assert not open_context(smoke(num_score_steps=30), None).scores_are_brief, "no limit at all"


def test_a_brief_search_registers_full_scores(searched):
    settings = {"num_trials": 2, "num_cross_seeds": 0}
    stores, brief = searched("brief", **settings, **STEPS)
    context = open_context(smoke(**settings, **STEPS), None)
    synthetic, winner = load_set(brief.winner.set, stores).synthetic, brief.winner
    run = trials_of(stores, brief)[winner.trial]
    scored = context.scorer("trial").score(synthetic, context.config.search.num_trial_seeds)
    assert run.metrics["val/accuracy"] == pytest.approx(scored.mean)
    assert run.metrics["random/val_accuracy"] == pytest.approx(winner.random.mean)
    finalist = context.scorer("finalist")
    assert winner.score.values == pytest.approx(finalist.score(synthetic, 2).values)
    assert winner.random.values == context.random().values
    # The start too, although its trial saw it by fewer updates.
    config = context.config.with_params(winner.params)
    method = find_method("dm")(config.distill)
    start = next(iter(method.distill(context.task(config), context.distill_generators()))).snapshot()
    assert winner.start_score.values == finalist.score(start, 2).values
    assert run.metrics["start/val_accuracy"] == pytest.approx(context.scorer("trial").score(start, 1).mean)


@pytest.mark.parametrize("settings", [STEPS, {}])
def test_a_single_distillation_registers_full_scores_too(settings, tmp_path):
    config = smoke(num_cross_seeds=0, **settings)
    winner = distill(config, StoreOptions(root=tmp_path / "mlruns")).winner
    finalist = open_context(config, None).scorer("finalist")
    assert winner.score.values == finalist.score(winner.synthetic, 2).values
    assert winner.start_score.n == (2 if settings else config.search.num_trial_seeds)
