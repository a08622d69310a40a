"""The benchmark of nominal rates: a row for every loop, and the ratio it states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from study.models.work import NOMINAL_RATES


def test_every_loop_is_timed_beside_its_count(tmp_path: Path, run_benchmark: Callable[..., None]) -> None:
    output = tmp_path / "figures.json"
    run_benchmark("nominal_rates", "--widths 4 --sides 8", output)
    figures = json.loads(output.read_text())
    assert {row["loop"] for row in figures["rows"]} == set(NOMINAL_RATES) == set(figures["summary"])
    assert all(row["shape"][1] == 8 for row in figures["rows"])
    for row in figures["rows"]:
        assert row["ratio"] == pytest.approx(row["seconds"] / row["expected"])
        assert row["seconds"] > 0
