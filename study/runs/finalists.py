"""The best trials, scored again: the top of many noisy scores is too good to be true."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.core.errors import SearchError
from study.core.records import Score, SyntheticSet
from study.runs.events import Listener
from study.runs.trial import TrialResult
from study.runs.workspace import Workspace
from study.search.optimize import Search, TrialHandle, TrialRecord
from study.sets.files import SET_FOLDER, read_set
from study.tracking.base import Tracker

__all__ = ["Candidate", "choose_winner", "note_result"]


@dataclass(frozen=True)
class Candidate:
    """A set that may be registered.

    Attributes:
        run_id: the run that made it.
        trial: its slot in the search; None for a single distillation.
        params: searched values.
        synthetic: the set.
        score: on validation, with seeds that it was not selected on.
        start_score: of its starting point on validation, as its trial measured it.
        relative_change: how far the images moved from that start.
        objective: what it is chosen by: the mean of ``score``, or the mean over other architectures, with
            fresh seeds likewise.
        cross: what its trial measured on other architectures, by name, with ``mean`` and ``worst``.
    """

    run_id: str
    trial: int | None
    params: Mapping[str, Any]
    synthetic: SyntheticSet
    score: Score
    start_score: Score
    relative_change: float
    objective: float
    cross: Mapping[str, float]


def note_result(handle: TrialHandle, result: TrialResult) -> None:
    """Keep with a trial what its candidacy needs beside the stored set, also for a later process."""
    handle.note("start", {"metric": result.start_score.metric, "values": list(result.start_score.values)})
    handle.note("relative_change", result.relative_change)
    handle.note("val_accuracy", result.score.mean)
    handle.note("cross", {} if result.cross is None else result.cross.metrics())


def choose_winner(workspace: Workspace, search: Search, tracker: Tracker, listener: Listener) -> Candidate:
    """Score the best trials again with fresh evaluation seeds; ties go to the earlier trial.

    Raises:
        SearchError: no trial was completed.
    """
    config = workspace.config.search
    best = search.best(config.num_finalists)
    if not best:
        outcomes = (
            ", ".join(sorted({record.outcome.lower() for record in search.records()})) or "none started"
        )
        raise SearchError(
            f"no trial of {search.name!r} completed ({outcomes}); start again with a narrower space, such as "
            f"--space distill.image_lr=0.01:1:log, or go on with --resume {search.name} --trials MORE"
        )
    listener.on_phase(f"scoring {len(best)} finalists with {config.num_finalist_seeds} fresh seeds")
    candidates = [_score(record, workspace, tracker) for record in best]
    return max(candidates, key=lambda candidate: (candidate.objective, -(candidate.trial or 0)))


def _score(record: TrialRecord, workspace: Workspace, tracker: Tracker) -> Candidate:
    run_id = str(record.attributes["run_id"])
    with tempfile.TemporaryDirectory() as folder:
        synthetic = read_set(tracker.download(run_id, SET_FOLDER, Path(folder))).synthetic
    start = record.attributes["start"]
    score = workspace.score(synthetic, "finalist", workspace.config.search.num_finalist_seeds)
    return Candidate(
        run_id=run_id,
        trial=record.slot,
        params=record.params,
        synthetic=synthetic,
        score=score,
        start_score=Score(start["metric"], tuple(start["values"])),
        relative_change=float(record.attributes["relative_change"]),
        objective=_objective(workspace, synthetic, score),
        cross=record.attributes.get("cross", {}),
    )


def _objective(workspace: Workspace, synthetic: SyntheticSet, score: Score) -> float:
    if workspace.config.search.objective == "accuracy":
        return score.mean
    assert workspace.cross is not None
    mean = workspace.cross.score(synthetic, "finalist").mean
    assert mean is not None
    return mean
