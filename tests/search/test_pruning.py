"""The rule that stops weak trials of a search with two objectives: that of Optuna's median pruner, with a margin."""

import random

import numpy as np
import optuna
import pytest

from study.core.spaces import Range
from study.search.config import SearchConfig
from study.search.optimize import Pruned, Search, create_search, find_search
from study.search.pruning import is_weak
from study.search.storage import default_storage_url, open_storage

RUNGS = (25, 50, 75)
SPACE = {"distill.image_lr": Range(low=0.1, high=10, log=True)}


def config(objective, **more):
    return SearchConfig(objective=objective, sampler="random", **more)


def scripted(scores, *, twice):
    """Reports a table of scores at the rungs, and ends with the last; ``twice`` as two objectives."""

    def objective(handle):
        for percent, score in zip(RUNGS, scores[handle.number], strict=True):
            if handle.report(score, percent):
                raise Pruned
        value = scores[handle.number][-1]
        return (value, 1 - value) if twice else value

    return objective


def ends(objective, scores, **more):
    search = create_search(optuna.storages.InMemoryStorage(), "s", "p", config(objective, **more), SPACE, 0)
    search.optimize(scripted(scores, twice="," in objective), len(scores))
    return [(record.outcome, dict(record.reported)) for record in search.records()]


@pytest.mark.parametrize("num_startup_trials", [0, 1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_two_objectives_are_pruned_as_optuna_prunes_one(seed, num_startup_trials):
    draw = random.Random(seed)
    # A coarse grid, so that scores are often equal to the median.
    scores = [[draw.randrange(8) / 8 for _ in RUNGS] for _ in range(14)]
    one = ends("accuracy", scores, num_startup_trials=num_startup_trials)
    both = ends("accuracy,cross-arch", scores, num_startup_trials=num_startup_trials, prune_margin=0)
    assert both == one
    outcomes = [outcome for outcome, _ in both]
    assert {"COMPLETE", "PRUNED"} == set(outcomes)
    assert set(outcomes[: max(1, num_startup_trials)]) == {"COMPLETE"}


def slowly(reported, finished, num_startup_trials, margin):
    """The rule once more, in other words."""
    if len(finished) >= num_startup_trials:
        rung = sorted(reported)[-1]
        known = [one[rung] for one in finished if rung in one]
        if known:
            return sorted(reported.values())[-1] + margin < np.percentile(known, 50)
    return False


def test_rule_equals_a_slow_restatement():
    draw = random.Random(0)

    def drawn():
        return {percent: draw.randrange(10) / 8 for percent in RUNGS[: draw.randint(1, 3)]}

    answers = []
    for _ in range(400):
        finished, least = [drawn() for _ in range(draw.randrange(7))], draw.randint(1, 4)
        reported = drawn()
        margin = draw.choice([0.0, 0.125])  # exact in binary, so that both sides round alike
        answers.append(is_weak(reported, finished, least, margin))
        assert answers[-1] == slowly(reported, finished, least, margin)
    assert 30 < sum(answers) < 350


def test_a_trial_within_the_margin_goes_on():
    scores = [[0.9, 0.9, 0.9], [0.86, 0.86, 0.86], [0.8, 0.8, 0.8]]
    both = ends("accuracy,cross-arch", scores, num_startup_trials=1)
    assert [outcome for outcome, _ in both] == ["COMPLETE", "COMPLETE", "PRUNED"]


def test_pruning_can_be_switched_off_and_scores_are_kept_all_the_same():
    scores = [[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]]
    both = ends("accuracy,cross-arch", scores, num_startup_trials=1)
    assert [outcome for outcome, _ in both] == ["COMPLETE", "PRUNED"]
    assert both[1][1] == {25: 0.1}
    kept = ends("accuracy,cross-arch", scores, num_startup_trials=1, pruner="none")
    assert [outcome for outcome, _ in kept] == ["COMPLETE", "COMPLETE"]
    assert kept[1][1] == dict.fromkeys(RUNGS, 0.1)


def test_rule_holds_for_another_process(tmp_path):
    settings = config("accuracy,cross-arch", num_startup_trials=2, prune_margin=0)
    scores = [[0.5, 0.6, 0.7], [0.7, 0.8, 0.9], [0.65, 0.65, 0.9]]
    first = create_search(open_storage(default_storage_url(tmp_path)), "s", "p", settings, SPACE, 0)
    first.optimize(scripted(scores, twice=True), 2)
    again = Search(find_search(open_storage(default_storage_url(tmp_path)), "s"), settings, SPACE, 0)
    again.optimize(scripted(scores, twice=True), 3)
    last = again.records()[2]
    # Above the median of 0.5 and 0.7 at the first rung, below that of 0.6 and 0.8 at the second.
    assert (last.outcome, last.values, dict(last.reported)) == ("PRUNED", None, {25: 0.65, 50: 0.65})
    assert again.optuna_study.trials[2].state is optuna.trial.TrialState.PRUNED
