from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def test_batches_by_cluster_are_nearer_to_the_class_means(
    tmp_path: Path, run_benchmark: Callable[..., None]
) -> None:
    output = tmp_path / "figures.json"
    run_benchmark("real_batches", "--dataset digits --sizes 8 --width 8 --networks 1", output)
    rows = json.loads(output.read_text())["error_over_random"]
    assert 0.2 < rows["8"]["k-means"] < 0.9
    assert rows["8"]["nearest"] > 0
    assert rows["8"]["seconds"] > 0
