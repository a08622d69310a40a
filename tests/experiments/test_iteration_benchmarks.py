from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["dm", "datadam", "dc"])
def test_both_loops_do_the_same_work_and_the_figures_are_written(
    name: str, tmp_path: Path, run_benchmark: Callable[..., None]
) -> None:
    output = tmp_path / "figures.json"
    words = "--dataset random --ipc 2 --batch-real 4 --width 8 --iterations 2 --no-compile --device cpu"
    run_benchmark(f"{name}_iteration", words, output)
    figures = json.loads(output.read_text())
    assert set(figures["summary"]) == {"plain", "uncompiled"}
    assert figures["summary"]["uncompiled"]["losses_agree"]
    assert len(figures["seconds"]["plain"]) == 2
    # ConvNet-3 on 40 real and 20 synthetic images, forwards and, for the latter, backwards to the pixels.
    assert figures["work"]["flops"] > 0
    assert "random images" in figures["work"]["images"]
