"""The Pareto front of a search with several objectives, and which of its trials become finalists."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from study.search.records import TrialRecord


def front_numbers(optuna_study: optuna.Study) -> frozenset[int] | None:
    """Optuna's own numbers of the trials that no other trial dominates; None for a single objective."""
    if len(optuna_study.directions) == 1:
        return None
    return frozenset(trial.number for trial in optuna_study.best_trials)


def choose_finalists(front: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """At most ``count`` trials of a front of complete trials.

    First the one with the highest mean of its objectives, then the best of each objective, so that both ends
    of the front are kept where three or more are asked for, then the rest by mean. An earlier trial wins a tie.
    """
    if not front:
        return []
    by_mean = sorted(front, key=lambda record: (-(record.value or 0.0), record.number))
    num_objectives = len(front[0].values or ())
    ends = [max(by_mean, key=lambda record: (record.values or ())[index]) for index in range(num_objectives)]
    chosen = {record.number: record for record in (by_mean[0], *ends, *by_mean)}
    return list(chosen.values())[:count]
