"""The Pareto front of a search, and which of its trials are scored again."""

import math
import random

import optuna
import pytest

from study.core.errors import DivergedError
from study.core.spaces import Choice, Range
from study.search.config import SearchConfig
from study.search.optimize import Pruned, Search, create_search, find_search
from study.search.records import TrialRecord, choose_finalists
from study.search.storage import default_storage_url, open_storage

BOTH = SearchConfig(objective="accuracy,cross-arch", num_startup_trials=2, pruner="none")
SPACE = {
    "distill.image_lr": Range(low=0.1, high=10, log=True),
    "distill.init": Choice(choices=("real", "noise")),
}


def in_memory(config=BOTH, seed=0):
    return create_search(optuna.storages.InMemoryStorage(), "s", "p", config, SPACE, seed)


def values_of(handle):
    place = math.log10(handle.params["distill.image_lr"])
    bonus = 0.1 * (handle.params["distill.init"] == "real")
    return bonus - (place - 0.5) ** 2, bonus - (place + 0.5) ** 2


def beats(one, other):
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


@pytest.mark.parametrize("seed", range(4))
def test_front_equals_brute_force(seed):
    draw = random.Random(seed)
    # A coarse grid: ties in one value, and whole trials that are equal.
    table = [(draw.randrange(6) / 6, draw.randrange(6) / 6) for _ in range(15)]
    search = in_memory()

    def objective(handle):
        if handle.number % 5 == 3:
            raise Pruned
        if handle.number == 4:
            raise DivergedError("match/loss", 7)
        return table[handle.number]

    search.optimize(objective, len(table))
    complete = {number: values for number, values in enumerate(table) if number % 5 != 3 and number != 4}
    expected = {
        number
        for number, values in complete.items()
        if not any(beats(other, values) for other in complete.values())
    }
    records = search.records()
    assert {record.number for record in records if record.on_front} == expected
    assert {record.number: record.values for record in records if record.values} == complete
    best = search.best(3)
    assert {record.number for record in best} <= expected
    assert len(best) == min(3, len(expected))


def record(number, *values):
    return TrialRecord(number, "COMPLETE", {}, values, {}, {}, 1.0, True)


def numbers(front, count):
    return [chosen.number for chosen in choose_finalists(front, count)]


def test_highest_mean_comes_first_then_both_ends_then_the_rest():
    front = [
        record(0, 0.3, 0.9),
        record(1, 0.5, 0.8),
        record(2, 0.7, 0.7),
        record(3, 0.8, 0.5),
        record(4, 0.9, 0.1),
    ]
    assert [numbers(front, count) for count in (1, 2, 3, 4, 9)] == [
        [2],
        [2, 4],
        [2, 4, 0],
        [2, 4, 0, 1],
        [2, 4, 0, 1, 3],
    ]


def test_a_trial_counts_once_and_an_earlier_one_wins_a_tie():
    assert numbers([record(0, 0.5, 0.5)], 3) == [0]
    assert numbers([record(3, 0.5, 0.5), record(1, 0.5, 0.5)], 1) == [1]
    assert numbers([], 3) == []


def test_one_objective_has_no_front():
    search = in_memory(SearchConfig(num_startup_trials=2))
    search.optimize(lambda handle: values_of(handle)[0], 3)
    assert {one.on_front for one in search.records()} == {None}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_every_sampler_takes_two_objectives(sampler):
    search = in_memory(BOTH.model_copy(update={"sampler": sampler}))
    search.optimize(values_of, 5)
    assert [one.outcome for one in search.records()] == ["COMPLETE"] * 5
    assert len({one.params["distill.image_lr"] for one in search.records()}) == 5


def test_sampler_learns_even_where_most_trials_were_pruned():
    search = in_memory(BOTH.model_copy(update={"sampler": "tpe"}))

    def objective(handle):
        if handle.number > 1:
            raise Pruned
        return values_of(handle)

    search.optimize(objective, 25)
    assert [one.outcome for one in search.records()] == ["COMPLETE"] * 2 + ["PRUNED"] * 23


def test_interrupted_search_proposes_what_an_undisturbed_one_does(tmp_path):
    undisturbed = in_memory()
    undisturbed.optimize(values_of, 7)

    def interrupted(handle):
        if handle.number == 3:
            handle.report(0.5, 25)
            raise KeyboardInterrupt
        return values_of(handle)

    first = create_search(open_storage(default_storage_url(tmp_path)), "s", "p", BOTH, SPACE, 0)
    with pytest.raises(KeyboardInterrupt):
        first.optimize(interrupted, 7)
    again = Search(find_search(open_storage(default_storage_url(tmp_path)), "s"), BOTH, SPACE, 0)
    assert again.recover() == [3]
    again.optimize(values_of, 7)
    for mine, theirs in zip(again.records(), undisturbed.records(), strict=True):
        assert (mine.params, mine.values, mine.on_front) == (theirs.params, theirs.values, theirs.on_front)
    assert again.records()[3].reported == {}
