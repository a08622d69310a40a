"""The search loop on a real SQLite storage: counts, pruning, divergence, interruption, resume."""

import math
import os
import subprocess
import sys

import pytest

from study.core.errors import DivergedError, SearchError
from study.core.spaces import Choice, Range
from study.search.config import SearchConfig
from study.search.optimize import Pruned, Search, create_search, find_search
from study.search.storage import default_storage_url, open_storage, owner_is_dead, owner_tag

CONFIG = SearchConfig(num_startup_trials=2)
SPACE = {
    "distill.image_lr": Range(low=0.1, high=10, log=True),
    "distill.init": Choice(choices=("real", "noise")),
}


def open_search(tmp_path, name="s", config=CONFIG, seed=0):
    return create_search(open_storage(default_storage_url(tmp_path)), name, "p", config, SPACE, seed)


def reopen(tmp_path, name="s", config=CONFIG, seed=0):
    return Search(find_search(open_storage(default_storage_url(tmp_path)), name), config, SPACE, seed)


def value_of(handle):
    return -abs(math.log10(handle.params["distill.image_lr"])) + (handle.params["distill.init"] == "real")


def test_trials_asked_for_are_finished(tmp_path):
    search = open_search(tmp_path)
    search.optimize(value_of, 6)
    records = search.records()
    assert [record.number for record in records] == list(range(6))
    assert {record.outcome for record in records} == {"COMPLETE"}
    assert search.best(2)[0].value == max(record.value for record in records)


def test_defaults_are_tried_first(tmp_path):
    search = open_search(tmp_path)
    search.propose({"distill.image_lr": 1.0, "distill.init": "noise"})
    search.optimize(value_of, 1)
    assert search.records()[0].params == {"distill.image_lr": 1.0, "distill.init": "noise"}


def test_diverged_trial_counts_and_search_goes_on(tmp_path):
    def objective(handle):
        if handle.number == 1:
            raise DivergedError("match/loss", 7)
        return value_of(handle)

    search = open_search(tmp_path)
    search.optimize(objective, 3)
    assert [record.outcome for record in search.records()] == ["COMPLETE", "DIVERGED", "COMPLETE"]


def test_weak_trial_is_pruned(tmp_path):
    def objective(handle):
        score = 0.9 if handle.number < 2 else 0.1
        if handle.report(score, 50):
            raise Pruned
        return score

    search = open_search(tmp_path)
    search.optimize(objective, 3)
    assert [record.outcome for record in search.records()] == ["COMPLETE", "COMPLETE", "PRUNED"]


def test_timeout_ends_between_trials(tmp_path):
    search = open_search(tmp_path)
    search.optimize(value_of, 5, timeout_seconds=0.0)
    assert search.records() == []


def params_of(search):
    return [record.params for record in search.records()]


def test_interrupted_search_proposes_what_an_undisturbed_one_does(tmp_path):
    undisturbed = open_search(tmp_path, "a")
    undisturbed.optimize(value_of, 7)

    def interrupted(handle):
        if handle.number == 3:
            raise KeyboardInterrupt
        return value_of(handle)

    first = open_search(tmp_path, "b")
    with pytest.raises(KeyboardInterrupt):
        first.optimize(interrupted, 7)
    assert first.records()[3].outcome == "INTERRUPTED"
    again = reopen(tmp_path, "b")
    assert again.recover() == [3]
    seen = []

    def numbered(handle):
        seen.append(handle.number)
        return value_of(handle)

    again.optimize(numbered, 7)
    assert seen == [3, 4, 5, 6]
    assert again.recover() == []
    assert params_of(again) == params_of(undisturbed)
    assert {record.outcome for record in again.records()} == {"COMPLETE"}


def test_seeds_differ(tmp_path):
    one, two = open_search(tmp_path, "a", seed=0), open_search(tmp_path, "b", seed=1)
    one.optimize(value_of, 2)
    two.optimize(value_of, 2)
    assert params_of(one) != params_of(two)


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from test_optimize import open_search, value_of
from pathlib import Path
def objective(handle):
    if handle.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value_of(handle)
open_search(Path({root!r})).optimize(objective, 3)
"""


def test_killed_process_leaves_a_trial_that_is_repeated(tmp_path):
    code = KILLED.format(here=os.path.dirname(__file__), root=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == -9, ended.stderr.decode()
    search = reopen(tmp_path)
    assert search.records()[1].outcome == "RUNNING"
    assert search.recover() == [1]
    search.optimize(value_of, 3)
    assert [record.outcome for record in search.records()] == ["COMPLETE"] * 3


def test_living_owner_is_not_dead():
    assert not owner_is_dead(owner_tag())
    assert not owner_is_dead("another-host:1:1")


def test_names_are_unique_and_found_again(tmp_path):
    open_search(tmp_path, "s")
    with pytest.raises(SearchError, match="--resume s"):
        open_search(tmp_path, "s")
    with pytest.raises(SearchError, match=r"'t'. Known: s"):
        reopen(tmp_path, "t")
    assert [open_search(tmp_path, None).name for _ in range(2)] == ["p-1", "p-2"]


def test_unusable_storage_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(SearchError, match="cannot open the search storage"):
        open_storage(default_storage_url(blocker))
    (tmp_path / "optuna.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SearchError, match="cannot open the search storage"):
        open_storage(default_storage_url(tmp_path))
