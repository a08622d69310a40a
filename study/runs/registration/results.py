"""One result on its way: a trial, then the registered winner, then what a search ends with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from study.core.clock import Split
from study.core.records import Score, SyntheticSet
from study.evaluation.architectures import CrossScore
from study.evaluation.full_data import FullData
from study.runs.registration.fitness import Fitness
from study.sets.manifest import ScoreRecord


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A finished distillation and its scores on validation.

    A trial has been scored with the seeds that all trials share; a finalist carries scores from fresh ones.

    Attributes:
        run_id: the run that holds it.
        trial: its number in the search; None for a single distillation.
        params: searched values.
        synthetic: the set after the last iteration.
        score: of the set on validation.
        start_score: of the set it started from, as its trial measured it, or by all of the recipe's updates where the
            search limits those of trials.
        random: random real images at the same IPC under the same recipe.
        relative_change: distance of the images from their start over the start's norm.
        objectives: what a search raises, by name: the mean of ``score``, that over other architectures, or both.
        cross: its score on architectures it was not distilled with, on validation; None where left out.
        cross_random: random real images on these, likewise.
        fitness: what speaks against it.

    Example:
        >>> import study
        >>> made: study.TrialResult = study.distill("random", budget="smoke").winner
        >>> made.relative_change, len(made.synthetic)
        (0.0, 10)
    """

    run_id: str
    trial: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    synthetic: SyntheticSet = field(repr=False)
    score: Score
    start_score: Score
    random: Score
    relative_change: float
    objectives: Mapping[str, float] = field(default_factory=dict)
    cross: CrossScore | None = None
    cross_random: CrossScore | None = None
    fitness: Fitness = field(default_factory=Fitness)

    @property
    def cross_mean(self) -> float | None:
        """Mean over architectures it was not distilled with."""
        return None if self.cross is None else self.cross.mean

    def cross_metrics(self) -> dict[str, float]:
        """Scores on other architectures, beside random real images, as runs record them."""
        metrics: dict[str, float] = {}
        for prefix, score in (("cross/", self.cross), ("random/cross_", self.cross_random)):
            if score is not None:
                metrics.update({f"{prefix}{name}": value for name, value in score.metrics().items()})
                metrics.update({f"{prefix}{name}_std": value for name, value in score.stds().items()})
                metrics[f"{prefix}num_seeds"] = float(score.num_seeds)
        return metrics

    @property
    def objective(self) -> float:
        """The mean of the objectives: one number to order sets by."""
        return statistics.fmean(self.objectives.values())

    def records(self) -> dict[str, ScoreRecord]:
        """The scores as a manifest holds them."""
        scores = {"validation": self.score, "start_validation": self.start_score,
                  "random_validation": self.random}  # fmt: skip
        return {name: ScoreRecord.of(score) for name, score in scores.items()}


@dataclass(frozen=True, kw_only=True)
class WinnerResult(TrialResult):
    """The chosen set with its test scores and its registration; accuracies are fractions, deviations have ddof 1.

    Attributes:
        test: its score on test, which was opened for it once.
        random_test: random real images on test.
        full: by split what all real training images reach, where that is known.
        set: registered name and version, such as ``digits-dm-ipc1/3``.
        sha256: of its ``data.safetensors``.
        is_best: whether the alias ``best`` points at it now.
        note: how it compares with the holder of the alias.
        near_copies: images that lie as near to a training image as a copy would.

    Example:
        >>> import study
        >>> winner = study.distill("random", budget="smoke").winner
        >>> winner.set.split("/")[0], winner.test.n
        ('digits-random-ipc1', 2)
    """

    test: Score
    random_test: Score
    full: Mapping[str, Score] = field(default_factory=dict)
    set: str = ""
    sha256: str = ""
    is_best: bool = False
    note: str = ""
    near_copies: int = 0

    @classmethod
    def of(cls, chosen: TrialResult, **more: Any) -> WinnerResult:
        """A chosen set with what it has earned since."""
        return cls(**{one.name: getattr(chosen, one.name) for one in fields(TrialResult)}, **more)

    def records(self) -> dict[str, ScoreRecord]:
        """The scores as a manifest holds them."""
        tests = {"test": ScoreRecord.of(self.test), "random_test": ScoreRecord.of(self.random_test)}
        return {**super().records(), **tests}

    def metrics(self) -> dict[str, float]:
        """What the run that owns the set records."""
        metrics = {
            "objective": self.objective,
            "val/accuracy": self.score.mean,
            "val/accuracy_std": self.score.std,
            "val/num_seeds": float(self.score.n),
            "val/gain_over_random": self.score.mean - self.random.mean,
            "test/accuracy": self.test.mean,
            "test/accuracy_std": self.test.std,
            "test/num_seeds": float(self.test.n),
            "synthetic/relative_change": self.relative_change,
            "random/val_accuracy": self.random.mean,
            "random/val_accuracy_std": self.random.std,
            "random/num_seeds": float(self.random.n),
            "random/test_accuracy": self.random_test.mean,
            "random/test_accuracy_std": self.random_test.std,
        }
        if len(self.objectives) > 1:
            metrics.update({f"finalist/{name}": value for name, value in self.objectives.items()})
        metrics.update(self.cross_metrics())
        metrics.update(FullData.metrics(self.full))
        metrics.update({f"test/{name}": mean for name, mean in self.test.extra_means().items()})
        return metrics

    def plain(self) -> dict[str, Any]:
        """Plain values for ``--json``, without the images."""
        return {
            "trial": self.trial,
            "run_id": self.run_id,
            "set": self.set,
            "params": dict(self.params),
            "metric": self.test.metric,
            "val_accuracy": self.score.mean,
            "val_accuracy_std": self.score.std,
            "test_accuracy": self.test.mean,
            "test_accuracy_std": self.test.std,
            "n": self.test.n,
            "start_val_accuracy": self.start_score.mean,
            "relative_change": self.relative_change,
            "sha256": self.sha256,
            "is_best": self.is_best,
            "note": self.note,
            "near_copies": self.near_copies,
            "objectives": dict(self.objectives),
            "cross": _plain_cross(self.cross),
            "fit": self.fitness.fit,
            "faults": list(self.fitness.faults),
            "warnings": list(self.fitness.warnings),
        }

    def random_plain(self) -> dict[str, Any]:
        """Random real images under the same recipe, for ``--json``."""
        return {
            "val_accuracy": self.random.mean,
            "val_accuracy_std": self.random.std,
            "test_accuracy": self.random_test.mean,
            "test_accuracy_std": self.random_test.std,
            "n": self.random_test.n,
            "cross": _plain_cross(self.cross_random),
        }


def _plain_cross(score: CrossScore | None) -> dict[str, Any]:
    """Mean, deviation and n by architecture, the means over them beside; empty where nobody measured."""
    if score is None:
        return {}
    by_name = {name: {"mean": one.mean, "std": one.std, "n": one.n} for name, one in score.scores.items()}
    return {"mean": score.mean, "worst": score.worst, "models": by_name}


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Everything the last screen shows, of a search or of a single distillation.

    Attributes:
        search: name of the search, or of the run.
        trials_finished: trials that count.
        trials: one row a trial: number, outcome, value, params, seconds, run id.
        seconds: wall time of this process.
        winner: the registered set.
        links: addresses in the UI.
        cost: where these seconds went, by part; they add up (:data:`study.core.clock.Part`).
        objective: what the search raises, such as ``accuracy`` or ``accuracy,cross-arch``.
        front: trials that no other one beats in both objectives; empty where there is one only.
        finalists: the trials that were scored again: number, what each scored in its trial and again, on its own
            architecture and on others, whether it is fit to be ``best``, and which was chosen.
        choice: how the winner was chosen from them, in words; empty without a search.

    Example:
        >>> import study
        >>> result = study.tune("dm", budget="smoke", trials=1)
        >>> result.search, result.trials[0]["outcome"], result.choice
        ('digits-dm-ipc1-1', 'COMPLETE', 'the best trial, scored again with fresh seeds')
    """

    search: str
    dataset: str
    method: str
    ipc: int
    budget: str
    trials_finished: int
    trials: list[dict[str, Any]]
    seconds: float
    winner: WinnerResult
    links: Mapping[str, str]
    cost: Split
    objective: str
    front: tuple[int, ...] = ()
    finalists: tuple[Mapping[str, Any], ...] = ()
    choice: str = ""

    @property
    def tracking_seconds(self) -> float:
        """Wall time spent on tracking, registry and figures."""
        return self.cost["tracking"]

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "winner"}
        own.update(cost=dict(self.cost), tracking_seconds=self.tracking_seconds)
        return {**own, "winner": self.winner.plain(), "random": self.winner.random_plain(),
                "front": list(self.front), "finalists": [dict(one) for one in self.finalists]}  # fmt: skip
