"""The best trials, scored again: the top of many noisy scores is too good to be true."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study.core.errors import SearchError
from study.core.records import Score
from study.core.reporting import work
from study.core.words import percent
from study.methods.base import find_method
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.registration.results import TrialResult
from study.runs.trials.trial import objective_values
from study.search.config import SearchConfig
from study.search.optimize import Search, TrialHandle
from study.search.records import FIT, VALUES, TrialRecord
from study.sets.files import SET_FOLDER, read_set
from study.tracking.base import Tracker


@dataclass(frozen=True)
class FinalistRound:
    """The set to register, every trial that was scored again, and why it was chosen, in words.

    Attributes:
        in_trial: what each finalist had scored in its trial, in their order.
    """

    winner: TrialResult
    finalists: tuple[TrialResult, ...]
    in_trial: tuple[Score, ...]
    rule: str

    def plain(self) -> list[dict[str, Any]]:
        """One row a finalist: its scores in the trial and again, and what came of it."""
        return [
            {
                "trial": one.trial,
                "trial_accuracy": before.mean,
                "trial_accuracy_std": before.std,
                "trial_n": before.n,
                "val_accuracy": one.score.mean,
                "val_accuracy_std": one.score.std,
                "n": one.score.n,
                "cross_mean": one.cross_mean,
                **one.objectives,
                "fit": one.fitness.fit,
                "faults": list(one.fitness.faults),
                "chosen": one.trial == self.winner.trial,
            }
            for one, before in zip(self.finalists, self.in_trial, strict=True)
        ]


def note_result(handle: TrialHandle, result: TrialResult) -> None:
    """Keep with a trial what its candidacy needs beside the stored set, also for a later process."""
    handle.note("start", {"metric": result.start_score.metric, "values": list(result.start_score.values)})
    handle.note("relative_change", result.relative_change)
    handle.note("val_accuracy", result.score.mean)
    handle.note(VALUES, list(result.score.values))
    handle.note("cross", {} if result.cross is None else result.cross.metrics())
    handle.note(FIT, result.fitness.fit)


def choose_winner(context: RunContext, search: Search, tracker: Tracker, callback: Callback) -> FinalistRound:
    """Score the best trials again with fresh evaluation seeds, on other architectures too, and choose one.

    Trials that were fit to be ``best`` come before others, and a finalist that is fit wins over one that is not. Where
    accuracy is the objective, finalists within a deviation of the highest go by their mean on other architectures.
    With two objectives they are trials of the front, and the highest mean of both, scored again, wins. Ties go to
    the earlier trial.

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
    chosen, why = choose(finalists, config)
    rule = f"{_rule(context, search, len(finalists))}{why}"
    winner = with_full_start(chosen, context, context.config.with_params(chosen.params))
    in_trial = tuple(
        # A storage of an older version kept the mean alone.
        Score(one.score.metric, record.scores or (record.plain()["val_accuracy"],))
        for one, record in zip(finalists, best, strict=True)
    )
    return FinalistRound(winner, finalists, in_trial, rule)


def choose(finalists: Sequence[TrialResult], config: SearchConfig) -> tuple[TrialResult, str]:
    """The finalist to register, and what decided besides the objective, in words that go on after the rule.

    Accuracies are of a few networks: those within the highest one's deviation are alike, and of these the one
    that teaches other architectures best serves most.
    """

    def first(results: Iterable[TrialResult]) -> TrialResult:
        return max(results, key=lambda result: (result.objective, -(result.trial or 0)))

    able = [one for one in finalists if one.fitness.fit] or list(finalists)
    top, best = first(finalists), first(able)
    why = (
        "" if best is top else f"; trial {top.trial} has more but is not fit to be best: {top.fitness.words}"
    )
    if config.objectives != ("accuracy",) or best.cross_mean is None:
        return best, why
    alike = [
        one for one in able if best.objective - one.objective <= best.score.std and one.cross_mean is not None
    ]
    chosen = max(alike, key=lambda one: (one.cross_mean or 0.0, one.objective, -(one.trial or 0)))
    if chosen is not best:
        why += (
            f"; trial {best.trial} has {percent(best.objective, best.score.std)}, alike within that deviation, and "
            f"this one more on other architectures ({percent(chosen.cross_mean)}, {percent(best.cross_mean)})"
        )
    return chosen, why


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
    networks = num_finalists * search.num_finalist_seeds
    if context.pool is not None:
        networks += num_finalists * context.pool.num_networks
    return networks


def _rule(context: RunContext, search: Search, num_finalists: int) -> str:
    config = context.config.search
    if num_finalists == 1 and len(config.objectives) == 1:
        return "the best trial, scored again with fresh seeds"
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
    cross = context.cross_score(synthetic, "finalist")
    change = float(notes["relative_change"])
    return TrialResult(
        run_id=run_id,
        trial=record.number,
        params=record.params,
        synthetic=synthetic,
        score=score,
        start_score=Score(notes["start"]["metric"], tuple(notes["start"]["values"])),
        random=context.random(),
        relative_change=change,
        objectives=objective_values(search, score, cross),
        cross=cross,
        cross_random=context.cross_random(),
        fitness=context.fitness(synthetic, cross, change),
    )
