"""The best trials, scored again: the top of many noisy scores is too good to be true."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.core.errors import SearchError
from study.core.records import Score, SyntheticSet
from study.evaluation.architectures import CrossScore
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.trials.objectives import objective_values
from study.runs.trials.trial import TrialResult
from study.search.optimize import Search, TrialHandle, TrialRecord
from study.sets.files import SET_FOLDER, read_set
from study.tracking.base import Tracker

__all__ = ["Candidate", "Choice", "choose_winner", "note_result"]


@dataclass(frozen=True)
class Candidate:
    """A set that may be registered.

    Attributes:
        run_id: the run that made it.
        trial: its number in the search; None for a single distillation.
        params: searched values.
        synthetic: the set.
        score: on validation, with seeds that it was not selected on.
        start_score: of its starting point on validation, as its trial measured it.
        relative_change: how far the images moved from that start.
        objectives: what it is chosen by, by name: the mean of ``score``, the mean over other architectures,
            or both, with fresh seeds likewise.
        cross: what its trial measured on other architectures, by name, with ``mean`` and ``worst``.
    """

    run_id: str
    trial: int | None
    params: Mapping[str, Any]
    synthetic: SyntheticSet
    score: Score
    start_score: Score
    relative_change: float
    objectives: Mapping[str, float]
    cross: Mapping[str, float]

    @property
    def objective(self) -> float:
        """The mean of the objectives; the highest one wins."""
        return statistics.fmean(self.objectives.values())


@dataclass(frozen=True)
class Choice:
    """The set to register, and what it was chosen from.

    Attributes:
        winner: one of the finalists.
        finalists: every trial that was scored again.
        rule: how they were found and the winner among them, in words.
    """

    winner: Candidate
    finalists: tuple[Candidate, ...]
    rule: str


def note_result(handle: TrialHandle, result: TrialResult) -> None:
    """Keep with a trial what its candidacy needs beside the stored set, also for a later process."""
    handle.note("start", {"metric": result.start_score.metric, "values": list(result.start_score.values)})
    handle.note("relative_change", result.relative_change)
    handle.note("val_accuracy", result.score.mean)
    handle.note("cross", {} if result.cross is None else result.cross.metrics())


def choose_winner(context: RunContext, search: Search, tracker: Tracker, callback: Callback) -> Choice:
    """Score the best trials again with fresh evaluation seeds; ties go to the earlier trial.

    With two objectives they are trials of the front, and the highest mean of both, scored again, wins.

    Raises:
        SearchError: no trial was completed.
    """
    config = context.config.search
    best = search.best(config.num_finalists)
    if not best:
        outcomes = (
            ", ".join(sorted({record.outcome.lower() for record in search.records()})) or "none started"
        )
        raise SearchError(
            f"no trial of {search.name!r} completed ({outcomes}); start again with a narrower space, such as "
            f"--space distill.image_lr=0.01:1:log, or go on with --resume {search.name} --trials MORE"
        )
    callback.on_phase(f"scoring {len(best)} finalists with {config.num_finalist_seeds} fresh seeds")
    candidates = tuple(_score(record, context, tracker) for record in best)
    winner = max(candidates, key=lambda candidate: (candidate.objective, -(candidate.trial or 0)))
    return Choice(winner, candidates, _rule(context, search, len(candidates)))


def _rule(context: RunContext, search: Search, num_finalists: int) -> str:
    config = context.config.search
    among = f"{num_finalists} best trials"
    highest = f"highest {config.objective}"
    if len(config.objectives) > 1:
        num_on_front = sum(bool(record.on_front) for record in search.records())
        among = f"{num_finalists} of the {num_on_front} trials on the front"
        highest = f"highest mean of {' and '.join(config.objectives)}"
    return f"{highest} of {among}, scored again with fresh seeds"


def _score(record: TrialRecord, context: RunContext, tracker: Tracker) -> Candidate:
    run_id = str(record.attributes["run_id"])
    with tempfile.TemporaryDirectory() as folder:
        synthetic = read_set(tracker.download(run_id, SET_FOLDER, Path(folder))).synthetic
    start = record.attributes["start"]
    score = context.score(synthetic, "finalist", context.config.search.num_finalist_seeds)
    return Candidate(
        run_id=run_id,
        trial=record.number,
        params=record.params,
        synthetic=synthetic,
        score=score,
        start_score=Score(start["metric"], tuple(start["values"])),
        relative_change=float(record.attributes["relative_change"]),
        objectives=objective_values(context.config.search, score, _cross(context, synthetic)),
        cross=record.attributes.get("cross", {}),
    )


def _cross(context: RunContext, synthetic: SyntheticSet) -> CrossScore | None:
    if context.cross is None or "cross-arch" not in context.config.search.objectives:
        return None
    return context.cross.score(synthetic, "finalist")
