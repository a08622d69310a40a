"""Pictures of synthetic sets as runs record them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from study.core.records import SyntheticSet
from study.data.splits import DataSplits
from study.sets.preview import near_square_grid
from study.tracking.base import Recorder

GRID_KEY = "synthetic_grid"
GRID_NAME = "grid.png"


def log_grid(recorder: Recorder, synthetic: SyntheticSet, splits: DataSplits, iteration: int) -> None:
    """Record a near-square grid at an iteration, for the slider of the UI."""
    pixels = splits.preprocessing.invert(synthetic.images.cpu())
    recorder.log_image(near_square_grid(pixels), GRID_KEY, iteration)


def log_final_grid(recorder: Recorder, synthetic: SyntheticSet, splits: DataSplits) -> None:
    """Store the same picture as ``grid.png`` at the artifact root, where comparison pages find it."""
    pixels = splits.preprocessing.invert(synthetic.images.cpu())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRID_NAME
        near_square_grid(pixels).save(path)
        recorder.log_file(path)
