from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_each_schedule_is_trained_once_under_a_limit_that_holds_one_set(
    run_benchmark: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.delenv("STUDY_CACHE_GB", raising=False)
    run_benchmark("expert_cache", "--trials 9 --seed 1", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    held, alone, size = figures["held"], figures["not_held"], figures["set_bytes"]
    assert figures["num_schedules"] == 3
    assert figures["limit_bytes"] < 2 * size
    assert held["sets_trained"] == 3
    assert alone["sets_trained"] > 3, "else the limit is not felt, and nothing is shown"
    assert 3 * size <= held["disk_peak_bytes"] < 3.5 * size
    assert alone["disk_peak_bytes"] < 1.5 * size, "room is made before experts are trained"
    assert held["bytes_after"] < 1.5 * size
    assert "experts may need 3 sets" in figures["warning"]
    paper = figures["paper_cifar10_by_ipc"]
    assert [paper[ipc]["kept_epochs"] for ipc in ("1", "10", "50")] == [22, 42, 82]
    for counted in paper.values():
        rows = counted["kept_epochs"] + 2
        assert counted["set_bytes"] * 101 == counted["every_epoch_bytes"] * rows
