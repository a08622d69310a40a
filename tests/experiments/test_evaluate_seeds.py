"""The benchmark of the evaluator runs, and both of its sides train the same networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_both_sides_train_alike(tmp_path: Path, run_benchmark: Callable[..., None]) -> None:
    output = tmp_path / "figures.json"
    words = f"--scale 0.01 --rounds 1 --no-compile --device cpu --data-root {tmp_path / 'nowhere'}"
    run_benchmark("evaluate_seeds", words, output)
    figures = json.loads(output.read_text())["results"]
    assert [row["num_seeds"] for row in figures] == [5, 5, 5]
    for row in figures[:2]:
        plain, ours = row["accuracy"]["plain"], row["accuracy"]["uncompiled"]
        assert plain["mean"] == pytest.approx(ours["mean"], abs=0.03)
        assert plain["n"] == 5
    assert figures[2]["accuracy"] == {}, "random pixels have no accuracy"
