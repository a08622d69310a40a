"""Optuna's own figures of a search, in one page that needs no network."""

from __future__ import annotations

import functools
import html
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from study.search.pruning import rung_scores

Figures = Mapping[str, Callable[[], Any]]


def search_page(optuna_study: optuna.Study, objectives: Sequence[str]) -> str:
    """One HTML page with the history, the intermediate scores and the importance of each parameter.

    With several objectives the front stands first, and each objective has figures of its own. Figures that
    the trials at hand cannot carry, such as importance from one trial, are left out with a line that says why.
    """
    parts, script = [], True
    for title, draw in _figures(optuna_study, objectives).items():
        parts.append(f"<h2>{html.escape(title)}</h2>")
        try:
            with warnings.catch_warnings():
                # With few trials Optuna warns that importances are equal; the figure shows just that.
                warnings.simplefilter("ignore", UserWarning)
                figure = draw()
        except (ValueError, RuntimeError) as error:
            parts.append(f"<p>Not drawn: {html.escape(str(error))}</p>")
            continue
        parts.append(figure.to_html(full_html=False, include_plotlyjs=script))
        script = False
    name = html.escape(optuna_study.study_name)
    return (
        f"<!doctype html><meta charset='utf-8'><title>{name}</title>"
        f"<body style='font-family:sans-serif;margin:2rem'><h1>{name}</h1>{''.join(parts)}</body>"
    )


def _figures(optuna_study: optuna.Study, objectives: Sequence[str]) -> Figures:
    show = optuna.visualization
    if len(objectives) == 1:
        return _figures_of(optuna_study)
    figures: dict[str, Callable[[], Any]] = {
        "Front": functools.partial(show.plot_pareto_front, optuna_study, target_names=list(objectives))
    }
    for index, name in enumerate(objectives):
        own = _figures_of(_with_one_objective(optuna_study, index))
        figures.update({f"{title}: {name}": draw for title, draw in own.items()})
    # Rungs measure one thing, whichever objective a trial is then judged by.
    for name in objectives[1:]:
        figures.pop(f"Scores at rungs: {name}")
    return figures


def _figures_of(optuna_study: optuna.Study) -> Figures:
    show = optuna.visualization
    draws: Mapping[str, Callable[..., Any]] = {
        "History": show.plot_optimization_history,
        "Scores at rungs": show.plot_intermediate_values,
        "Importance": show.plot_param_importances,
        "Slices": show.plot_slice,
    }
    return {title: functools.partial(draw, optuna_study) for title, draw in draws.items()}


def _with_one_objective(optuna_study: optuna.Study, index: int) -> optuna.Study:
    """A copy in memory that knows one of the objectives, since most figures take no more."""
    copy = optuna.create_study(study_name=optuna_study.study_name, direction="maximize")
    for trial in optuna_study.get_trials(deepcopy=False):
        copy.add_trial(
            optuna.trial.create_trial(
                state=trial.state,
                value=None if trial.values is None else trial.values[index],
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=trial.user_attrs,
                intermediate_values=rung_scores(trial),
            )
        )
    return copy
