"""Pictures of synthetic sets as runs record them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from study.core.records import SyntheticSet
from study.data.splits import DataSplits
from study.methods.base import LayerWeighted, find_method
from study.runs.config.configure import RunConfig
from study.sets.preview import near_square_grid
from study.tracking.base import Recorder

__all__ = ["GRID_KEY", "GRID_NAME", "log_final_grid", "log_grid", "log_layer_weights"]

GRID_KEY = "synthetic_grid"
GRID_NAME = "grid.png"
LAYER_WEIGHTS_NAME = "layer_weights.png"


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


def log_layer_weights(
    recorder: Recorder, config: RunConfig, splits: DataSplits, *, as_params: bool = True
) -> None:
    """Record the layer weights that enter the loss, as bars and as parameters; nothing for other methods."""
    method = find_method(config.method)(config.distill)
    if not isinstance(method, LayerWeighted):
        return
    weights = method.layer_weights(config.model, splits.image_shape)
    if as_params:
        recorder.log_params({f"layer_weight.{layer}": round(weight, 6) for layer, weight in weights.items()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LAYER_WEIGHTS_NAME
        _draw_bars(weights, path)
        recorder.log_file(path)


def _draw_bars(weights: Mapping[str, float], path: Path) -> None:
    # A figure of its own instead of pyplot: trials may run in threads, and nothing is to be shown.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 0.7 * len(weights), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.bar(list(weights), list(weights.values()), color="#4878a8")
    axes.bar_label(bars, fmt="%.2f")
    axes.axhline(1.0, color="#888888", linewidth=1, linestyle="--")
    axes.margins(y=0.15)
    axes.set(xlabel="attention layer, first to last", ylabel="weight, mean 1")
    figure.savefig(path, dpi=120)
