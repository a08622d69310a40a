"""Pictures that a run records: its synthetic set, and what its method tells of itself before it distils."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from study.core.records import SyntheticSet
from study.data.splits import DataSplits
from study.methods.base import find_method
from study.methods.difficulty.ranking import difficulty_histogram, easiest_and_hardest, rank_by_class
from study.methods.hooks import BarFigure, ScoreFigure
from study.methods.hooks import Figure as MethodFigure
from study.protocols.figures import new_figure
from study.runs.config.configure import RunConfig
from study.runs.context.run_context import RunContext
from study.sets.preview import class_rows, near_square_grid
from study.tracking.base import Recorder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID_KEY = "synthetic_grid"
GRID_NAME = "grid.png"
NUM_SHOWN = 8
"""Images at either end of a class's row."""


def log_grid(recorder: Recorder, synthetic: SyntheticSet, splits: DataSplits, iteration: int) -> None:
    """Record a near-square grid at an iteration, for the slider of the UI."""
    pixels = splits.preprocessing.invert(synthetic.images.cpu())
    recorder.log_image(near_square_grid(pixels, synthetic.ipc), GRID_KEY, iteration)


def log_final_grid(recorder: Recorder, synthetic: SyntheticSet, splits: DataSplits) -> None:
    """Store a labelled row a class as ``grid.png`` at the artifact root, where comparison pages find it."""
    pixels = splits.preprocessing.invert(synthetic.images.cpu())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRID_NAME
        class_rows(pixels, synthetic.labels.cpu(), synthetic.class_names).save(path)
        recorder.log_file(path)


def log_bar_figures(recorder: Recorder, config: RunConfig, context: RunContext) -> None:
    """Record the method's bars under this configuration as ``<name>.png``; they may differ from trial to trial."""
    for figure in _figures(config, context):
        if isinstance(figure, BarFigure):
            _log_bars(recorder, figure)


def log_score_figures(recorder: Recorder, config: RunConfig, context: RunContext) -> None:
    """Record the method's scores of training images, in a folder each; they are a matter of the whole search."""
    for figure in _figures(config, context):
        if isinstance(figure, ScoreFigure):
            _log_scores(recorder, figure, context)


def _figures(config: RunConfig, context: RunContext) -> Sequence[MethodFigure]:
    method = find_method(config.method)(config.distill)
    return method.figures(context.task(config), context.distill_generators())


def _log_bars(recorder: Recorder, bars: BarFigure) -> None:
    figure = new_figure(1.5 + 0.7 * len(bars.values), 3.2)
    axes = figure.add_subplot()
    drawn = axes.bar(list(bars.values), list(bars.values.values()), color="#4878a8")
    axes.bar_label(drawn, fmt="%.2f")
    if bars.reference is not None:
        axes.axhline(bars.reference, color="#888888", linewidth=1, linestyle="--")
    axes.margins(y=0.15)
    axes.set(xlabel=bars.xlabel, ylabel=bars.ylabel)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{bars.name}.png"
        figure.savefig(path, dpi=120)
        recorder.log_file(path)


def _log_scores(recorder: Recorder, shown: ScoreFigure, context: RunContext) -> None:
    train = context.train
    labels = train.labels.cpu()
    ranking = rank_by_class(shown.scores, labels, train.num_classes)
    ends = easiest_and_hardest(ranking, min(NUM_SHOWN, *(len(one) for one in ranking)))
    chosen = torch.cat([torch.cat([low, high]) for low, high in zip(*ends, strict=True)])
    pixels = context.splits.preprocessing.invert(train.images[chosen.to(train.images.device)].cpu())
    with tempfile.TemporaryDirectory() as folder:
        strip, histogram = Path(folder) / f"{shown.low}_then_{shown.high}.png", Path(folder) / "histogram.png"
        class_rows(pixels, labels[chosen], train.class_names).save(strip)
        _draw_histogram(shown, labels, train.class_names).savefig(histogram, dpi=120)
        for path in (strip, histogram):
            recorder.log_file(path, shown.name)


def _draw_histogram(shown: ScoreFigure, labels: torch.Tensor, class_names: tuple[str, ...]) -> Figure:
    edges, counts = difficulty_histogram(shown.scores, labels, len(class_names))
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    base = torch.zeros_like(counts[0])
    for name, more in zip(class_names, counts, strict=True):
        top = base + more
        axes.stairs(top.tolist(), edges.tolist(), baseline=base.tolist(), fill=True, label=name)
        base = top
    axes.set(xlabel=f"{shown.label}, {shown.high} to the right", ylabel="training images")
    axes.legend(title="class", ncols=2, fontsize="small")
    return figure
