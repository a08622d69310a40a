from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"


def test_cheap_scores_are_compared_with_the_full_one_on_seeds_of_their_own(
    tmp_path: Path, run_benchmark: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "figures.json"
    words = (
        "--dataset digits --learning-rates 2 --snapshots 2 6 --batch-real 8 --width 8 --full-seeds 2 "
        "--full-steps 20 --cheap 2x20 1x4 --validation 60 --device cpu"
    )
    run_benchmark("rank_correlation", words, output)
    figures = json.loads(output.read_text())
    made = [(row["image_lr"], row["iterations"]) for row in figures["sets"]]
    assert len(set(made)) == len(made) == figures["work"]["num_sets"] == 4
    assert {iterations for _, iterations in made} == {2, 6}
    used, there = figures["work"]["validation_images"]
    assert used <= 60 < there
    first = figures["sets"][0]["scores"]
    assert {name: len(score["values"]) for name, score in first.items()} == {"full": 2, "2x20": 2, "1x4": 1}
    as_long = [row["scores"] for row in figures["sets"]]
    assert [row["2x20"]["values"] for row in as_long] != [row["full"]["values"] for row in as_long]
    summary = figures["summary"]
    full = summary["full"]
    assert (full["spearman"], full["share_of_full"], full["regret"]) == (pytest.approx(1), 1, 0)
    assert full["seconds_per_set"] == pytest.approx(
        statistics.fmean(row["full"]["seconds"] for row in as_long)
    )
    assert 0 < summary["1x4"]["share_of_full"] < 1
    assert all(-1 <= row["spearman"] <= 1 and row["regret"] >= 0 for row in summary.values())
    assert "| 1x4 |" in capsys.readouterr().out


def test_order_cost_and_loss_are_what_the_scores_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from study.core.records import Score

    monkeypatch.syspath_prepend(BENCHMARKS)
    rank_correlation = importlib.import_module("rank_correlation")

    def column(*rows: tuple[float, ...], seconds: float) -> list[Score]:
        return [Score("accuracy", row, seconds=seconds) for row in rows]

    full = column((0.5, 0.7), (0.8, 0.8), (0.9, 0.7), (0.2, 0.4), seconds=4.0)
    cheap = column((0.3,), (0.5,), (0.6,), (0.7,), seconds=1.0)
    full[2] = Score("accuracy", (0.9, 0.75), seconds=4.0)
    row = rank_correlation.summarise({"full": full, "cheap": cheap})["cheap"]
    # Ranks 2 3 4 1 against 1 2 3 4: 1 - 6 (1 + 1 + 1 + 9) / (4 (16 - 1)).
    assert row["spearman"] == pytest.approx(-0.2)
    assert row["spearman_of_better_half"] == pytest.approx(1), "the two best are in order"
    assert row["share_of_full"] == 0.25
    assert row["regret"] == pytest.approx(0.825 - 0.3)
    # Ranks 2 3 4 1 against 2 4 3 1: 1 - 6 (1 + 1) / (4 (16 - 1)).
    assert rank_correlation.halves(full) == pytest.approx(0.8)
    assert rank_correlation.halves(cheap) is None
    assert rank_correlation.correlate([0.5, 0.5], [0.1, 0.2]) == 0, "what is on a level orders nothing"
