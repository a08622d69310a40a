"""The benchmark of pixel limits: rows beside random images, and a limit that holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_limit_keeps_pixels_in_range(
    tmp_path: Path, run_benchmark: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "figures.json"
    case = "dm:distill.image_lr=30,search.num_cross_seeds=1"
    run_benchmark("pixel_range", f"--budget smoke --cases {case} --ranges none 0", output)
    free, bound = json.loads(output.read_text())["rows"]
    assert free["pixels"]["high"] > 1.5
    assert bound["pixels"]["clipped"] == pytest.approx(0.0, abs=1e-3)
    assert (bound["pixels"]["low"], bound["pixels"]["high"]) == pytest.approx((0.0, 1.0), abs=1e-3)
    assert free["own_random"] == bound["own_random"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert "0.0 %" in lines[3]
