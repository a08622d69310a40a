"""From the chosen set to a registered version: the one look at the test set, and the alias ``best``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study.runs.context.callbacks import Callback
from study.runs.context.full_data import full_data_metrics, known_full_data_scores
from study.runs.context.recording import Stopwatch
from study.runs.context.run_context import RunContext
from study.runs.registration.results import Winner
from study.runs.registration.set_folder import SetScores, register
from study.runs.trials.finalists import Candidate
from study.tracking.base import Tracker

__all__ = ["Crowned", "crown"]


@dataclass(frozen=True)
class Crowned:
    """A registered set with all its scores, and what it was chosen by: the objective, or the mean of both."""

    winner: Winner
    scores: SetScores
    objective: float

    def metrics(self) -> dict[str, float]:
        """What the run that owns the set records."""
        scores = self.scores
        assert scores.test is not None
        assert scores.random_test is not None
        metrics = {
            "objective": self.objective,
            "val/accuracy": scores.validation.mean,
            "val/accuracy_std": scores.validation.std,
            "val/gain_over_random": scores.validation.mean - scores.random.mean,
            "test/accuracy": scores.test.mean,
            "test/accuracy_std": scores.test.std,
            "test/num_seeds": float(scores.test.n),
            "synthetic/relative_change": self.winner.relative_change,
            "random/val_accuracy": scores.random.mean,
            "random/test_accuracy": scores.random_test.mean,
            "random/test_accuracy_std": scores.random_test.std,
        }
        if len(self.winner.objectives) > 1:
            metrics.update({f"finalist/{name}": value for name, value in self.winner.objectives.items()})
        metrics.update({f"cross/{name}": value for name, value in self.winner.cross.items()})
        metrics.update(full_data_metrics(scores.whole))
        metrics.update({f"test/{name}": mean for name, mean in scores.test.extra_means().items()})
        return metrics

    def random_summary(self) -> Mapping[str, float]:
        """Random real images under the same recipe, for ``--json``."""
        assert self.scores.random_test is not None
        return {
            "val_accuracy": self.scores.random.mean,
            "val_accuracy_std": self.scores.random.std,
            "test_accuracy": self.scores.random_test.mean,
            "test_accuracy_std": self.scores.random_test.std,
            "n": self.scores.random_test.n,
        }


def crown(
    tracker: Tracker,
    watch: Stopwatch,
    context: RunContext,
    candidate: Candidate,
    callback: Callback,
    *,
    origin: str,
    output: Path | None,
) -> Crowned:
    """Open the test set for a chosen candidate, once, and register it.

    Args:
        tracker: where it is registered.
        watch: counts the time of registration.
        context: data and machine.
        candidate: the choice, made on validation alone.
        callback: told of the stages.
        origin: the search or run it comes from, for the log of test openings.
        output: folder for a copy of the set, or None.
    """
    num_seeds = context.config.search.num_finalist_seeds
    callback.on_phase("opening the test set, once")
    reason = f"final score of the set chosen on validation in {origin}"
    test, random_test = context.test_scores(candidate.synthetic, reason, num_seeds)
    scores = SetScores(
        validation=candidate.score,
        start=candidate.start_score,
        random=context.random_score("finalist", num_seeds),
        test=test,
        random_test=random_test,
        whole=known_full_data_scores(context, ("validation", "test")),
    )
    callback.on_phase("registering the set")
    with watch.running():
        registered = register(tracker, context, candidate, scores, output)
    winner = Winner(
        trial=candidate.trial,
        run_id=candidate.run_id,
        set=f"{registered.name}/{registered.version}",
        params=dict(candidate.params),
        metric=test.metric,
        val_accuracy=candidate.score.mean,
        val_accuracy_std=candidate.score.std,
        test_accuracy=test.mean,
        test_accuracy_std=test.std,
        n=test.n,
        start_val_accuracy=candidate.start_score.mean,
        relative_change=candidate.relative_change,
        sha256=registered.sha256,
        is_best=registered.is_best,
        note=registered.note,
        near_copies=registered.near_copies,
        objectives=dict(candidate.objectives),
        cross=dict(candidate.cross),
    )
    return Crowned(winner, scores, candidate.objective)
