"""The last screen of a search, as a terminal of some width shows it."""

import pytest

from study.cli.common import out
from study.cli.summary import print_outcome
from study.runs.registration.results import Outcome, Winner


@pytest.fixture
def show(monkeypatch, capsys):
    """``show(num_params, columns, **winner)`` prints the screen of a search of two trials, and gives its lines."""

    def printed(num_params, columns, **winner):
        monkeypatch.setenv("COLUMNS", str(columns))
        out.cache_clear()  # its width is that of an earlier screen
        params = {f"distill.parameter_{i}": 0.125 + i for i in range(num_params)}
        print_outcome(outcome_of(params, **winner), as_json=False)
        return capsys.readouterr().out.splitlines()

    yield printed
    out.cache_clear()


def outcome_of(params, relative_change=0.5):
    trials = [
        {"trial": number, "outcome": "COMPLETE", "on_front": False, "val_accuracy": 0.5, "cross_mean": 0.4,
         "seconds": 12.0, "params": params}
        for number in range(2)
    ]  # fmt: skip
    winner = Winner(
        trial=1, run_id="r", set="digits-dm-ipc1/1", params=params, metric="accuracy", val_accuracy=0.5,
        val_accuracy_std=0.1, test_accuracy=0.4, test_accuracy_std=0.1, n=5, start_val_accuracy=0.3,
        relative_change=relative_change, sha256="0" * 64, is_best=True, note="first of its name", near_copies=3,
        objectives={}, cross={},
    )  # fmt: skip
    keys = ("val_accuracy", "val_accuracy_std", "test_accuracy", "test_accuracy_std")
    return Outcome(
        search="digits-dm-ipc1-1", dataset="digits", method="dm", ipc=1, budget="quick", trials_finished=2,
        trials=trials, seconds=30.0, winner=winner, random=dict.fromkeys(keys, 0.2), links={},
        tracking_seconds=1.0, objective="accuracy",
    )  # fmt: skip


@pytest.mark.parametrize(("num_params", "columns"), [(1, 80), (4, 80), (4, 200), (9, 80)])
def test_no_word_of_the_tables_is_cut(show, num_params, columns):
    lines = show(num_params, columns)
    assert not any("…" in line for line in lines)
    assert all(len(line) <= columns for line in lines if line.startswith("│"))
    for index in range(num_params):
        assert any(f"parameter_{index}" in line for line in lines)


def test_images_that_never_moved_are_told_of(show):
    assert "still those that the search began with" not in " ".join(show(1, 200))
    assert "still those that the search began with" in " ".join(show(1, 200, relative_change=0.001))


def test_near_copies_are_told_of(show):
    shown = " ".join(show(1, 200))
    assert "3 of its images are near copies" in shown
    assert "study evaluate digits-dm-ipc1/1 --protocol leakage" in shown


def test_parameters_stand_beside_the_scores_where_there_is_room(show):
    def is_beside(lines):
        return any("validation" in line and "parameter_0" in line for line in lines)

    assert is_beside(show(1, 80))
    assert not is_beside(show(4, 80))
    assert is_beside(show(4, 200))
