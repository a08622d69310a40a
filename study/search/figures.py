"""Optuna's own figures of a search, in one page that needs no network."""

from __future__ import annotations

import html
import warnings

import optuna

__all__ = ["search_page"]


def search_page(optuna_study: optuna.Study) -> str:
    """One HTML page with the history, the intermediate scores and the importance of each parameter.

    Figures that the trials at hand cannot carry, such as importance from one trial, are left out with a
    line that says why.
    """
    figures = {
        "History": optuna.visualization.plot_optimization_history,
        "Scores at rungs": optuna.visualization.plot_intermediate_values,
        "Importance": optuna.visualization.plot_param_importances,
        "Slices": optuna.visualization.plot_slice,
    }
    parts, script = [], True
    for title, draw in figures.items():
        parts.append(f"<h2>{title}</h2>")
        try:
            with warnings.catch_warnings():
                # With few trials Optuna warns that importances are equal; the figure shows just that.
                warnings.simplefilter("ignore", UserWarning)
                figure = draw(optuna_study)
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
