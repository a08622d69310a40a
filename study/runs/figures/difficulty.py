"""Pictures of how hard the training images are, for methods that care: a histogram and a strip a class."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from study.methods.base import find_method
from study.methods.difficulty.ranking import (
    DifficultyHistogram,
    RanksImages,
    difficulty_histogram,
    easiest_and_hardest,
    rank_by_class,
)
from study.runs.config.configure import RunConfig
from study.runs.context.run_context import RunContext
from study.sets.preview import class_rows
from study.tracking.base import Recorder

__all__ = ["log_difficulty"]

NUM_SHOWN = 8
"""Images at either end of a class's row."""
FOLDER = "difficulty"


def log_difficulty(recorder: Recorder, config: RunConfig, context: RunContext) -> None:
    """Record the histogram of scores by class, and the easiest and hardest images; nothing for other methods."""
    method = find_method(config.method)(config.distill)
    if not isinstance(method, RanksImages):
        return
    scores = method.ranked_difficulty(context.task(config), context.distill_generators())
    if scores is None:
        return
    train = context.train
    labels = train.labels.cpu()
    ranking = rank_by_class(scores, labels, train.num_classes)
    ends = easiest_and_hardest(ranking, min(NUM_SHOWN, *(len(one) for one in ranking)))
    chosen = torch.cat([torch.cat([easy, hard]) for easy, hard in zip(*ends, strict=True)])
    pixels = context.splits.preprocessing.invert(train.images[chosen.to(train.images.device)].cpu())
    with tempfile.TemporaryDirectory() as folder:
        strip, bars = Path(folder) / "easiest_then_hardest.png", Path(folder) / "histogram.png"
        class_rows(pixels, labels[chosen], train.class_names).save(strip)
        _draw(difficulty_histogram(scores, labels, train.num_classes), train.class_names, bars)
        for path in (strip, bars):
            recorder.log_file(path, FOLDER)


def _draw(histogram: DifficultyHistogram, class_names: tuple[str, ...], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    edges = histogram.edges.tolist()
    base = torch.zeros(len(edges) - 1)
    for name, counts in zip(class_names, histogram.counts.float(), strict=True):
        axes.stairs((base + counts).tolist(), edges, baseline=base.tolist(), fill=True, label=name)
        base = base + counts
    axes.set(xlabel="difficulty score, harder to the right", ylabel="training images")
    axes.legend(title="class", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
