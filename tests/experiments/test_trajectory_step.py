from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "benchmarks" / "trajectory_step.py"


def test_adjoint_needs_the_memory_of_one_step_and_gives_the_gradient_of_the_unroll(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    words = "--dataset digits --ipc 1 --width 8 --steps 3 24 --rounds 2 --no-compile --device cpu --threads 1"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words.split(), "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(output.read_text())
    rows = figures["summary"]["rows"]
    assert set(rows) == {"unroll", "adjoint", "tesla"}
    assert all(len(turns) == 2 for runs in figures["seconds"].values() for turns in runs.values())
    # The stored vectors are no small part of so narrow a network's memory.
    assert rows["adjoint"]["growth"] == pytest.approx(1, abs=0.1)
    assert rows["adjoint"]["share_of_unroll"] < 0.25
    assert rows["unroll"]["growth"] > 4
    errors = figures["relative_errors_of_image_gradient"]
    assert errors["unroll"] == [0, 0]
    assert max(errors["adjoint"]) < 1e-4
    assert min(errors["tesla"]) > 10 * max(errors["adjoint"])
    assert "x unroll" in done.stdout
