"""What a search with two objectives leaves besides its winner: the front, tagged and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from study.protocols.figures import new_figure
from study.runs.context.run_context import RunContext
from study.search.records import TrialRecord
from study.tracking.base import Recorder, Tracker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRONT_NAME = "pareto_front.png"
ON_FRONT, WON, PLAIN, RANDOM = "#2166ac", "#1b7837", "#9a9a9a", "#b2182b"
COVERED = 0.025
"""Numbers of dots closer than this part of both axes would cover each other."""
Point = tuple[float, float]


def log_front(
    parent: Recorder,
    tracker: Tracker,
    records: Sequence[TrialRecord],
    winner: int | None,
    context: RunContext,
) -> None:
    """Tag complete trials and their parent run with the front, and draw it; nothing for one objective."""
    complete = [record for record in records if record.values is not None]
    if context.pool is None or any(record.on_front is None for record in complete):
        return
    for record in complete:
        # A resumed search may have pushed a trial off the front, so the others are tagged too.
        tag = str(bool(record.on_front)).lower()
        tracker.tag_run(str(record.attributes["run_id"]), {"study.on_front": tag})
    parent.set_tags({"study.front": ", ".join(str(record.number) for record in complete if record.on_front)})
    config = context.config
    random = context.random()
    across = context.cross_random()
    metric = random.metric.replace("_", " ")
    figure = draw_front(
        complete,
        winner,
        None if across is None or across.mean is None else (random.mean, across.mean),
        xlabel=f"validation {metric} of {config.model.name}, % ({_networks(config.search.num_trial_seeds)})",
        ylabel=f"validation {metric}, mean over {', '.join(context.pool.models)},\n"
        f"% ({_networks(context.pool.num_seeds)} each)",
        title=f"{config.method} on {config.data_name}, {config.ipc} a class: {len(complete)} complete trials",
    )
    parent.log_figure(figure, FRONT_NAME)


def draw_front(
    records: Sequence[TrialRecord],
    winner: int | None,
    random: Point | None,
    *,
    xlabel: str,
    ylabel: str,
    title: str,
) -> Figure:
    """Complete trials by their two objectives in percent, each with its number, the front as a line of steps.

    At least one trial is needed. ``random`` are both values of random real images, as fractions; where they lie
    far off, a second panel shows the trials alone.
    """
    points = {record.number: _percent(record) for record in records}
    reference = None if random is None else (100 * random[0], 100 * random[1])
    closer = reference is not None and _is_far(reference, list(points.values()))
    figure = new_figure(11.5 if closer else 7.2, 5.4)
    panels = figure.subplots(1, 1 + closer, squeeze=False)[0]
    front = {record.number for record in records if record.on_front}
    for axes in panels:
        _draw_panel(axes, points, front, winner, reference if axes is panels[0] else None)
        axes.set_xlabel(xlabel)
        _name_points(axes, points, front, everyone=axes is panels[-1])
    panels[0].set_ylabel(ylabel)
    panels[0].legend(fontsize=9, loc="best")
    if closer:
        panels[0].set_title("with random real images", fontsize=9)
        panels[1].set_title("the trials alone, with their numbers", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def _is_far(reference: Point, points: Sequence[Point]) -> bool:
    """Whether showing the reference would crowd the trials into less than two thirds of an axis."""
    for along in (0, 1):
        own = [point[along] for point in points]
        both = [*own, reference[along]]
        if max(own) - min(own) < (max(both) - min(both)) * 2 / 3:
            return True
    return False


def _draw_panel(
    axes: Axes, points: Mapping[int, Point], front: Set[int], winner: int | None, reference: Point | None
) -> None:
    rest = [point for number, point in points.items() if number not in front]
    best = [point for number, point in points.items() if number in front]
    _scatter(axes, rest, "other trials", color=PLAIN, s=36, zorder=3)
    _scatter(axes, best, "on the front", color=ON_FRONT, s=46, zorder=4)
    if winner is not None and winner in points:
        _scatter(axes, [points[winner]], f"registered: trial {winner}", facecolors="none", edgecolors=WON,
                 linewidths=2.2, s=190, zorder=5)  # fmt: skip
    if reference is not None:
        _scatter(axes, [reference], "random real images", color=RANDOM, marker="X", s=70, zorder=4)
    if best:
        _draw_steps(axes, sorted(best))
    axes.grid(alpha=0.3)


def _name_points(axes: Axes, points: Mapping[int, Point], front: Set[int], *, everyone: bool) -> None:
    """Trial numbers: of the front above the line, of the others below their dots."""
    for best in (True, False) if everyone else (True,):
        own = {number: point for number, point in points.items() if (number in front) is best}
        for numbers in _heaps(axes, own):
            offset, across, up = ((6, 6), "left", "baseline") if best else ((-4, -4), "right", "top")
            axes.annotate(", ".join(map(str, numbers)), points[numbers[0]], offset, textcoords="offset points",
                          ha=across, va=up, zorder=6, fontsize=10 if best else 8,
                          color=ON_FRONT if best else "#555555",
                          fontweight="bold" if best else "normal")  # fmt: skip


def _heaps(axes: Axes, points: Mapping[int, Point]) -> list[list[int]]:
    """Trials so close to each other that they share a label."""
    spans = [high - low for low, high in (axes.get_xlim(), axes.get_ylim())]
    heaps: list[list[int]] = []
    for number, point in points.items():
        for heap in heaps:
            gaps = [abs(one - other) for one, other in zip(points[heap[0]], point, strict=True)]
            if all(gap < COVERED * span for gap, span in zip(gaps, spans, strict=True)):
                heap.append(number)
                break
        else:
            heaps.append([number])
    return heaps


def _draw_steps(axes: Axes, front: list[Point]) -> None:
    """The edge of what was reached, from the left end of the picture to its lower end."""
    axes.margins(0.1)
    axes.autoscale_view()
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    # Fixed before the line is drawn: it ends where the picture does.
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    xs = [left, *(x for x, _ in front), front[-1][0]]
    ys = [front[0][1], *(y for _, y in front), bottom]
    # To the left of a trial its own value of the second objective was reached.
    axes.step(xs, ys, where="pre", color=ON_FRONT, linewidth=1.2, alpha=0.7, zorder=2)


def _scatter(axes: Axes, points: Sequence[Point], label: str, **how: object) -> None:
    if points:
        axes.scatter([x for x, _ in points], [y for _, y in points], label=label, **how)  # type: ignore[arg-type]


def _networks(count: int) -> str:
    return "1 network" if count == 1 else f"{count} networks"


def _percent(record: TrialRecord) -> Point:
    assert record.values is not None
    first, second = record.values
    return 100 * first, 100 * second
