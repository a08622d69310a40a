"""Figures of a search: how it went, and which hyperparameter matters, as inline SVG with a sentence beside each."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from study.core import charts
from study.core.errors import StudyError
from study.core.templates import render
from study.search.pruning import rung_scores
from study.search.records import front_numbers, outcome_of
from study.search.sampler import trial_number

Draw = Callable[[], str]
ALONE = ("Front", "History", "Importance")
"""What a page over several searches shows of each."""


LEAST_TRIALS = 4
"""From fewer complete trials, shares of importance would say more of the estimate than of the search."""
FEW_TRIALS = 20


class _Undrawn(StudyError):
    """The trials at hand cannot carry the figure."""


@dataclass(frozen=True)
class SearchFigure:
    """One figure.

    Attributes:
        title: such as ``Importance`` or ``History: cross-arch``.
        words: what it shows, or why it is not drawn.
        svg: the drawing; None where the trials cannot carry it.
    """

    title: str
    words: str
    svg: str | None


def search_page(optuna_study: optuna.Study, objectives: Sequence[str]) -> str:
    """One HTML page with every figure of a search; text from the store is escaped."""
    return render(
        Path(__file__).with_name("templates"), "search.html.j2", title=optuna_study.study_name,
        figures=search_figures(optuna_study, objectives),
    )  # fmt: skip


def search_figures(
    optuna_study: optuna.Study, objectives: Sequence[str], only: Sequence[str] = ()
) -> list[SearchFigure]:
    """The front of two objectives, then history, scores at rungs, importance and slices of each.

    Args:
        optuna_study: the search.
        objectives: their names, in the order of a trial's values.
        only: kinds of figures, such as :data:`ALONE`; by default all.
    """
    several = len(objectives) > 1
    figures: dict[str, tuple[str, Draw]] = {}
    if several:
        words = "No other trial is at least as good as one on the front in both objectives and better in one."
        figures["Front"] = words, functools.partial(_front, optuna_study, objectives)
    for index, name in enumerate(objectives):
        for title, (words, draw) in _figures_of(optuna_study, index, name).items():
            # Rungs measure one thing, whichever objective a trial is then judged by.
            if index == 0 or title != "Scores at rungs":
                figures[f"{title}: {name}" if several else title] = words, draw
    chosen = {title: found for title, found in figures.items() if not only or title.split(":")[0] in only}
    return [_drawn(title, words, draw) for title, (words, draw) in chosen.items()]


def _drawn(title: str, words: str, draw: Draw) -> SearchFigure:
    try:
        with warnings.catch_warnings():
            # With few trials Optuna warns that importances are equal; the figure shows just that.
            warnings.simplefilter("ignore", UserWarning)
            return SearchFigure(title, words, draw())
    except (_Undrawn, ValueError, RuntimeError) as error:
        return SearchFigure(title, f"Not drawn: {error}", None)


def _figures_of(optuna_study: optuna.Study, index: int, name: str) -> dict[str, tuple[str, Draw]]:
    label = f"{name}, validation, %"
    count = len(_complete(optuna_study))
    about = (
        f"How much of the difference between {count} complete trials goes with each hyperparameter, within its range. "
        f"Shares add up to 100 %{'; from so few trials they are a hint' if count < FEW_TRIALS else ''}."
    )
    return {
        "History": (
            f"Every trial by its {name} on validation; the line is the best complete trial so far. A pruned trial "
            "stands at its last rung.",
            functools.partial(_history, optuna_study, index, label),
        ),
        "Scores at rungs": (
            "Accuracy on validation along each trial. Those that fell behind were stopped.",
            functools.partial(_rungs, optuna_study),
        ),
        "Importance": (about, functools.partial(_importance, optuna_study, index)),
        "Slices": (
            "Complete trials by each hyperparameter.",
            functools.partial(_slices, optuna_study, index, label),
        ),
    }


def _complete(optuna_study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return list(optuna_study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def _history(optuna_study: optuna.Study, index: int, label: str) -> str:
    rows: list[dict[str, Any]] = []
    best: float | None = None
    for trial in sorted(optuna_study.get_trials(deepcopy=False), key=trial_number):
        state = outcome_of(trial)
        reached = rung_scores(trial)
        if trial.state is TrialState.COMPLETE:
            value = 100 * trial.values[index]
            best = value if best is None else max(best, value)
        # A rung measures accuracy, so it says nothing of another objective.
        elif state == "PRUNED" and reached and index == 0:
            value = 100 * reached[max(reached)]
        else:
            continue
        rows.append({"trial": trial_number(trial), "value": value, "best": best, "state": state.lower()})
    if not rows:
        raise _Undrawn("no trial has a value yet")
    return charts.history(rows, label)


def _rungs(optuna_study: optuna.Study) -> str:
    rows: list[dict[str, Any]] = []
    for trial in optuna_study.get_trials(deepcopy=False):
        points = dict(rung_scores(trial))
        if trial.state is TrialState.COMPLETE:
            points[100] = trial.values[0]
        own = {"trial": trial_number(trial)}
        rows += [{**own, "percent": done, "value": 100 * value} for done, value in sorted(points.items())]
    if not rows:
        raise _Undrawn("no trial has reached a rung")
    return charts.rungs(rows, "accuracy, validation, %")


def _importance(optuna_study: optuna.Study, index: int) -> str:
    trials = _complete(optuna_study)
    if len(trials) < LEAST_TRIALS:
        raise _Undrawn(f"that takes {LEAST_TRIALS} complete trials at least, there are {len(trials)}")
    if len({trial.values[index] for trial in trials}) == 1:
        raise _Undrawn("all complete trials have the same value")
    shares = optuna.importance.get_param_importances(
        optuna_study, target=lambda trial: trial.values[index],
        evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
    )  # fmt: skip
    return charts.importance(
        [{"name": short_name(name), "share": 100 * share} for name, share in shares.items()]
    )


def _slices(optuna_study: optuna.Study, index: int, label: str) -> str:
    rows: list[dict[str, Any]] = []
    for trial in _complete(optuna_study):
        for name, chosen in trial.params.items():
            is_number = isinstance(chosen, int | float) and not isinstance(chosen, bool)
            rows.append({"name": short_name(name), "number": chosen if is_number else None, "word": str(chosen),
                         "value": 100 * trial.values[index]})  # fmt: skip
    if not rows:
        raise _Undrawn("no trial is complete")
    return charts.slices(rows, label)


def _front(optuna_study: optuna.Study, objectives: Sequence[str]) -> str:
    best = front_numbers(optuna_study) or frozenset()
    rows: list[dict[str, Any]] = [
        {"trial": str(trial_number(trial)), "x": 100 * trial.values[0], "y": 100 * trial.values[1],
         "kind": "on the front" if trial.number in best else "other trials"}
        for trial in _complete(optuna_study)
    ]  # fmt: skip
    if not rows:
        raise _Undrawn("no trial is complete")
    rows.sort(key=lambda row: row["x"])
    return charts.front(rows, *(f"{name}, validation, %" for name in objectives[:2]))


def short_name(name: str) -> str:
    """A hyperparameter as people call it: most lie in one table of the configuration."""
    return name.removeprefix("distill.")
