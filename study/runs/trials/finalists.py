"""The best trials, scored again: the top of many noisy scores is too good to be true."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from study.core.errors import SearchError
from study.core.records import Score
from study.core.reporting import work
from study.methods.base import find_method
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.registration.results import TrialResult
from study.runs.trials.trial import objective_values
from study.search.optimize import Search, TrialHandle
from study.search.records import VALUES, TrialRecord
from study.sets.files import SET_FOLDER, read_set
from study.tracking.base import Tracker


@dataclass(frozen=True)
class FinalistRound:
    """The set to register, every trial that was scored again, and the rule it was chosen by, in words."""

    winner: TrialResult
    finalists: tuple[TrialResult, ...]
    rule: str


def note_result(handle: TrialHandle, result: TrialResult) -> None:
    """Keep with a trial what its candidacy needs beside the stored set, also for a later process."""
    handle.note("start", {"metric": result.start_score.metric, "values": list(result.start_score.values)})
    handle.note("relative_change", result.relative_change)
    handle.note("val_accuracy", result.score.mean)
    handle.note(VALUES, list(result.score.values))
    handle.note("cross", dict(result.cross))


def choose_winner(context: RunContext, search: Search, tracker: Tracker, callback: Callback) -> FinalistRound:
    """Score the best trials again with fresh evaluation seeds; ties go to the earlier trial.

    With two objectives they are trials of the front, and the highest mean of both, scored again, wins.

    Raises:
        SearchError: no trial was completed.
    """
    config = context.config.search
    best = search.best(config.num_finalists)
    if not best:
        outcomes = sorted({record.outcome.lower() for record in search.records()}) or ["none started"]
        raise SearchError(
            f"no trial of {search.name!r} completed ({', '.join(outcomes)}); start again with a narrower space, "
            f"such as --space distill.image_lr=0.01:1:log, or go on with --resume {search.name} --trials MORE"
        )
    callback.on_phase(f"scoring {len(best)} finalists with {config.num_finalist_seeds} fresh seeds")
    what = f"scoring {len(best)} finalist{'s' if len(best) > 1 else ''}"
    with context.clock.part("finalists"), work(what, _num_networks(context, len(best))):
        finalists = tuple(_score(record, context, tracker) for record in best)
    winner = max(finalists, key=lambda result: (result.objective, -(result.trial or 0)))
    winner = with_full_start(winner, context, context.config.with_params(winner.params))
    return FinalistRound(winner, finalists, _rule(context, search, len(finalists)))


def with_full_start(result: TrialResult, context: RunContext, config: RunConfig) -> TrialResult:
    """A chosen result whose start is scored as it is, also where trials are scored by fewer updates.

    The start is made again, as its trial made it: it is not kept, and one a search is needed.
    """
    if not context.scores_are_brief:
        return result
    method = find_method(config.method)(config.distill, config.space)
    with context.clock.part("finalists"):
        start = next(iter(method.distill(context.task(config), context.distill_generators()))).snapshot()
        score = context.scorer("finalist").score(start, context.config.search.num_finalist_seeds)
    return replace(result, start_score=score)


def _num_networks(context: RunContext, num_finalists: int) -> int:
    """Networks to train for finalists and for random real images beside them."""
    search = context.config.search
    networks = (num_finalists + 1) * search.num_finalist_seeds
    if "cross-arch" in search.objectives and context.pool is not None:
        networks += num_finalists * context.pool.num_networks
    return networks


def _rule(context: RunContext, search: Search, num_finalists: int) -> str:
    config = context.config.search
    among = f"{num_finalists} best trials"
    highest = f"highest {config.objective}"
    if len(config.objectives) > 1:
        num_on_front = sum(bool(record.on_front) for record in search.records())
        among = f"{num_finalists} of the {num_on_front} trials on the front"
        highest = f"highest mean of {' and '.join(config.objectives)}"
    return f"{highest} of {among}, scored again with fresh seeds"


def _score(record: TrialRecord, context: RunContext, tracker: Tracker) -> TrialResult:
    search, notes = context.config.search, record.attributes
    run_id = str(notes["run_id"])
    with tempfile.TemporaryDirectory() as folder:
        synthetic = read_set(tracker.download(run_id, SET_FOLDER, Path(folder))).synthetic
    score = context.scorer("finalist").score(synthetic, search.num_finalist_seeds)
    cross = context.cross_score(synthetic, "finalist") if "cross-arch" in search.objectives else None
    return TrialResult(
        run_id=run_id,
        trial=record.number,
        params=record.params,
        synthetic=synthetic,
        score=score,
        start_score=Score(notes["start"]["metric"], tuple(notes["start"]["values"])),
        random=context.random("finalist"),
        relative_change=float(notes["relative_change"]),
        objectives=objective_values(search, score, cross),
        cross=notes.get("cross", {}),
    )
