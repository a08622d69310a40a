from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("method", ["datadam", "pad"])
def test_an_iteration_at_full_size_is_timed(
    method: str, tmp_path: Path, run_benchmark: Callable[..., None]
) -> None:
    output = tmp_path / "figures.json"
    words = (
        f"--method {method} --batch-real 2 --ipc 1 --width 2 --num-images 20 --student-steps 2 --device cpu"
    )
    run_benchmark("large_images", words, output)
    figures = json.loads(output.read_text())
    assert figures["work"]["image_shape"] == [3, 224, 224]
    assert len(figures["seconds"]) == 1
    assert figures["peak_gib"] > 0
