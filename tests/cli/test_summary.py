"""The last screen of a search, as a terminal of some width shows it."""

import pytest
import torch

from study.cli.common import out
from study.cli.summary import show_result
from study.core.clock import PARTS
from study.core.records import Score, SyntheticSet
from study.runs.registration.results import SearchResult, WinnerResult

COST = {**dict.fromkeys(PARTS, 0.0), "tracking": 1.0, "distill": 20.0, "cross": 9.0}


@pytest.fixture
def show(monkeypatch, capsys):
    """``show(num_params, columns, **winner)`` prints the screen of a search of two trials, and gives its lines."""

    def printed(num_params, columns, *, profile=False, **winner):
        monkeypatch.setenv("COLUMNS", str(columns))
        out.cache_clear()  # its width is that of an earlier screen
        params = {f"distill.parameter_{i}": 0.125 + i for i in range(num_params)}
        show_result(result_of(params, **winner), profile=profile)
        return capsys.readouterr().out.splitlines()

    yield printed
    out.cache_clear()


def result_of(params, relative_change=0.5, raced=False):
    trials = [
        {"trial": number, "outcome": "COMPLETE", "on_front": False, "val_accuracy": 0.5, "cross_mean": 0.4,
         "num_seeds": 2 + number * raced, "seconds": 12.0, "params": params}
        for number in range(2)
    ]  # fmt: skip
    score = Score("accuracy", (0.4, 0.6))
    images = torch.zeros(2, 1, 8, 8)
    winner = WinnerResult(
        run_id="r", trial=1, params=params, synthetic=SyntheticSet(images, torch.arange(2), ("0", "1")),
        score=score, start_score=score, random=score, relative_change=relative_change, test=score,
        random_test=score, set="digits-dm-ipc1/1", sha256="0" * 64, is_best=True, note="first of its name",
        near_copies=3,
    )  # fmt: skip
    return SearchResult(
        search="digits-dm-ipc1-1", dataset="digits", method="dm", ipc=1, budget="quick", trials_finished=2,
        trials=trials, seconds=30.0, winner=winner, links={}, cost=COST, objective="accuracy",
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


def test_where_the_time_went_is_shown_if_asked_for_largest_first(show):
    assert not any("where the time went" in line for line in show(1, 80))
    rows = [line for line in show(1, 80, profile=True) if " % " in line and "s of" not in line]
    rows = [
        line
        for line in rows
        if any(name in line for name in ("distilling", "other arch", "tracking,", "all "))
    ]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in rows]
    assert cells == [
        ["distilling", "20.0", "66.7 %"],
        ["other architectures", "9.0", "30.0 %"],
        ["tracking, registry, figures", "1.0", "3.3 %"],
        ["all", "30.0", "100.0 %"],
    ]


def test_the_networks_of_each_trial_are_told_where_they_differ(show):
    def heads(lines):
        return next(line for line in lines if "outcome" in line and "validation" in line)

    assert "┃ n ┃" not in heads(show(1, 80))
    assert "┃ n ┃" in heads(show(1, 80, raced=True))
