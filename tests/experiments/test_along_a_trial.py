"""The benchmark that chooses defaults scores every case by the same networks, and runs none twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = "--method mtt --dataset digits --ipc 1 --budget smoke --networks 1"


def test_cases_share_their_start_and_differ_by_what_they_say(
    tmp_path: Path, run_benchmark: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "figures.json"
    run_benchmark("along_a_trial", f"{WORDS} --case recipe", output)
    (first,) = json.loads(output.read_text())["cases"].values()
    run_benchmark("along_a_trial", f"{WORDS} --case recipe --case fast:distill.image_lr=900", output)
    recipe, fast = json.loads(output.read_text())["cases"].values()
    assert recipe == first
    assert recipe["curve"][0]["mean"] == fast["curve"][0]["mean"]
    assert recipe["random"]["mean"] == fast["random"]["mean"]
    assert fast["settings"]["distill.image_lr"] == 900
    assert [point["iteration"] for point in fast["curve"]] == [0, 2, 4]
    assert fast["random"]["n"] == 5
    assert "random " in capsys.readouterr().out


def test_figures_of_other_work_are_not_mixed(
    tmp_path: Path, run_benchmark: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "figures.json"
    output.write_text(json.dumps({"work": {"method": "dm"}, "cases": {}}))
    ended: list[object] = []
    monkeypatch.setattr(sys, "exit", ended.append)
    run_benchmark("along_a_trial", WORDS, output)
    assert ended == [2]
    assert json.loads(output.read_text())["cases"] == {}
