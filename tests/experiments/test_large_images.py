from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "benchmarks" / "large_images.py"


@pytest.mark.parametrize("method", ["datadam", "pad"])
def test_an_iteration_at_full_size_is_timed(method: str, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    words = (
        f"--method {method} --batch-real 2 --ipc 1 --width 2 --num-images 20 --student-steps 2 --device cpu"
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words.split(), "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(output.read_text())
    assert figures["work"]["image_shape"] == [3, 224, 224]
    assert len(figures["seconds"]) == 1
    assert figures["peak_gib"] > 0
