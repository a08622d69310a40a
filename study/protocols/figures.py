"""Figures of the protocols: pairs of images, curves and bars with their deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from study.core.records import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PAIRS = 24
PAIRS_A_ROW = 6
COLOURS = {
    "distilled": "#1b7837",
    "against": "#e08214",
    "random real images": "#878787",
    "herding": "#2166ac",
    "whole data": "#b2182b",
}


def draw_pairs(
    synthetic: Tensor, real: Tensor, captions: Sequence[str], flagged: Sequence[bool], title: str
) -> Figure:
    """Synthetic images, each with its nearest real one to the right; flagged pairs have a red frame.

    Both halves are [n, C, H, W] pixels in [0, 1], at most :data:`MAX_PAIRS`.
    """
    num_rows = -(-len(captions) // PAIRS_A_ROW)
    figure = new_figure(width=1.9 * PAIRS_A_ROW, height=1.25 * num_rows + 0.5)
    grid = figure.subplots(num_rows, PAIRS_A_ROW, squeeze=False)
    gap = max(1, synthetic.shape[3] // 8)
    for position, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if position >= len(captions):
            continue
        pair = torch.cat([synthetic[position], torch.ones(*synthetic.shape[1:3], gap), real[position]], dim=2)
        pixels = pair.clamp(0, 1).permute(1, 2, 0)
        axes.imshow(pixels.squeeze(2).numpy() if pixels.shape[2] == 1 else pixels.numpy(),
                    cmap="gray", vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
        colour = "#b2182b" if flagged[position] else "#444444"
        axes.set_title(captions[position], fontsize=8, color=colour, pad=3)
        if flagged[position]:
            height, width = pixels.shape[:2]
            xs = [-0.5, width - 0.5, width - 0.5, -0.5, -0.5]
            ys = [-0.5, -0.5, height - 0.5, height - 0.5, -0.5]
            axes.plot(xs, ys, color=colour, linewidth=2, clip_on=False)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_curves(
    panels: Mapping[str, Mapping[str, Sequence[Score]]],
    positions: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Accuracies in percent over a setting, one panel beside the other, deviations as bars.

    ``panels`` has for each panel's title the curves by name, one score a position; ``labels`` what the legend calls
    a curve, where that is not its name.
    """
    figure = new_figure(width=4.6 * len(panels) + 0.6, height=3.8)
    rows = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    # Evenly spaced, whatever the values: levels of noise crowd near 0.
    places = range(len(positions))
    axes: Axes
    for axes, (heading, curves) in zip(rows.flat, panels.items(), strict=True):
        for name, scores in curves.items():
            means, spreads = zip(*((100 * score.mean, 100 * score.std) for score in scores), strict=True)
            label = (labels or {}).get(name, name)
            axes.errorbar(places, means, spreads, label=label, color=COLOURS.get(name), marker="o",
                          markersize=4, capsize=3)  # fmt: skip
        axes.set_xticks(list(places), [f"{position:g}" for position in positions])
        axes.set(xlabel=xlabel, title=heading)
        axes.grid(alpha=0.3)
    rows[0][0].set_ylabel(f"{ylabel}, % (mean, ddof 1)")
    rows[0][-1].legend(fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_models(scores: Mapping[str, Mapping[str, Score]], *, ylabel: str, title: str) -> Figure:
    """Accuracies in percent by architecture and name of the set, sets side by side, deviations as error bars."""
    names = list(next(iter(scores.values())))
    figure = new_figure(width=1.6 + 1.0 * len(scores), height=3.8)
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        means = [100 * by_name[name].mean for by_name in scores.values()]
        spreads = [100 * by_name[name].std for by_name in scores.values()]
        places = [place + (index - (len(names) - 1) / 2) * width for place in range(len(scores))]
        axes.bar(places, means, width, yerr=spreads, capsize=3, label=name, color=COLOURS.get(name))
    axes.set_xticks(range(len(scores)), list(scores), rotation=20)
    axes.set_ylabel(f"{ylabel}, % (mean, ddof 1)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=9, loc="lower right")
    figure.suptitle(title, fontsize=10)
    return figure


def draw_bars(values: Mapping[str, Mapping[str, float]], *, title: str) -> Figure:
    """Bars by name, one panel a quantity."""
    figure = new_figure(width=2.6 * len(values) + 0.4, height=3.4)
    panels = figure.subplots(1, len(values), squeeze=False)
    for axes, (heading, bars) in zip(panels.flat, values.items(), strict=True):
        drawn = axes.bar(
            list(bars), list(bars.values()), color=[COLOURS.get(name, "#4878a8") for name in bars]
        )
        axes.bar_label(drawn, fmt="{:.3g}", fontsize=8)
        axes.margins(y=0.2)
        axes.yaxis.set_visible(False)  # every bar has its number
        axes.set_title(heading, fontsize=9)
        axes.tick_params(axis="x", labelsize=8, rotation=20)
    figure.suptitle(title, fontsize=10)
    return figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of its own, sizes in inches: no pyplot, as runs may be threads and nothing is shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
