"""Trials as the storage knows them, and those of several objectives that none dominates."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.search.pruning import rung_scores
from study.search.sampler import trial_number

TrialOutcome = Literal["COMPLETE", "PRUNED", "DIVERGED", "INTERRUPTED", "RUNNING"]

DIVERGED = "study.diverged"
VALUES = "val_values"
"""Under which a complete trial keeps its score, one value a network."""
FIT = "fit"
"""Under which it keeps whether its set may become ``best``."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial as the storage knows it.

    Attributes:
        number: position in the search, from 0; the number that users see.
        outcome: how it ended; ``INTERRUPTED`` trials are repeated, all others count.
        params: sampled values by dotted key.
        values: of the configured objectives on validation, in their order; None unless complete.
        reported: score by percent of iterations done.
        attributes: what the objective noted, such as the run id.
        seconds: wall time so far.
        on_front: whether no other trial is at least as good in every objective and better in one; None where
            there is one objective only.
    """

    number: int
    outcome: TrialOutcome
    params: Mapping[str, Any]
    values: tuple[float, ...] | None
    reported: Mapping[int, float]
    attributes: Mapping[str, Any]
    seconds: float
    on_front: bool | None = None

    @classmethod
    def of(cls, trial: FrozenTrial, on_front: bool | None) -> TrialRecord:
        """The record of a stored trial; whether it lies on the front is known to the search alone."""
        return cls(
            number=trial_number(trial),
            outcome=outcome_of(trial),
            params=trial.params,
            values=tuple(trial.values) if trial.state is TrialState.COMPLETE else None,
            reported=rung_scores(trial),
            attributes=trial.user_attrs,
            seconds=trial.duration.total_seconds() if trial.duration else 0.0,
            on_front=on_front,
        )

    @property
    def value(self) -> float | None:
        """Value of the objective, or the mean of several; None unless complete."""
        return None if self.values is None else statistics.fmean(self.values)

    @property
    def scores(self) -> tuple[float, ...]:
        """What each network of a complete trial scored; empty in a storage of an older version."""
        return tuple(self.attributes.get(VALUES, ()))

    @property
    def fit(self) -> bool:
        """Whether its set was found fit to be ``best``; so are trials of older versions, which nobody judged."""
        return bool(self.attributes.get(FIT, True))

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that were asked for."""
        return self.outcome in {"COMPLETE", "PRUNED", "DIVERGED"}

    def plain(self) -> dict[str, Any]:
        """Plain values for tables and ``--json``."""
        return {
            "trial": self.number,
            "outcome": self.outcome,
            "val_accuracy": self.attributes.get("val_accuracy", self.value),
            "num_seeds": len(self.scores) or None,
            "objective": self.value,
            "cross_mean": (self.attributes.get("cross") or {}).get("mean"),
            "on_front": self.on_front,
            "fit": self.fit if self.values is not None else None,
            "params": dict(self.params),
            "seconds": self.seconds,
            "run_id": self.attributes.get("run_id"),
        }


def outcome_of(trial: FrozenTrial) -> TrialOutcome:
    """How a trial ended; Optuna knows one kind of failure, here there are two."""
    # Whatever else ended it, Ctrl-C or the death of its process, it is to be repeated.
    failed: TrialOutcome = "DIVERGED" if DIVERGED in trial.user_attrs else "INTERRUPTED"
    outcomes: dict[TrialState, TrialOutcome] = {
        TrialState.COMPLETE: "COMPLETE", TrialState.PRUNED: "PRUNED", TrialState.FAIL: failed,
    }  # fmt: skip
    return outcomes.get(trial.state, "RUNNING")


def front_numbers(optuna_study: optuna.Study) -> frozenset[int] | None:
    """Optuna's own numbers of the trials that no other trial dominates; None for a single objective."""
    if len(optuna_study.directions) == 1:
        return None
    return frozenset(trial.number for trial in optuna_study.best_trials)


def choose_finalists(front: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """At most ``count`` trials of a front of complete trials.

    First the one with the highest mean of its objectives, then the best of each objective, so that both ends
    of the front are kept where three or more are asked for, then the rest by mean. An earlier trial wins a tie, and
    trials that are fit to be ``best`` come before all others.
    """
    if not front:
        return []
    by_mean = sorted(front, key=lambda record: (not record.fit, -(record.value or 0.0), record.number))
    front = [record for record in by_mean if record.fit] or by_mean
    num_objectives = len(front[0].values or ())
    ends = [max(front, key=lambda record: (record.values or ())[index]) for index in range(num_objectives)]
    chosen = {record.number: record for record in (by_mean[0], *ends, *by_mean)}
    return list(chosen.values())[:count]
