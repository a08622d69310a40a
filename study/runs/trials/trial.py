"""One distillation: the loop around a method, which scores, records and prunes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from study.core.errors import DivergedError
from study.core.records import Progress, Score, SyntheticSet
from study.evaluation.architectures import CrossScore
from study.methods.base import Method, find_method
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.figures.images import log_final_grid, log_grid
from study.runs.figures.method import log_bar_figures
from study.runs.trials.objectives import objective_values
from study.tracking.base import Recorder

__all__ = ["TrialResult", "run_trial", "rung_iterations"]

MAX_CURVE_POINTS = 200
"""Of each loss curve; a longer run is thinned, so that tracking stays cheap."""

NEGLIGIBLE_CHANGE = 1e-3

OnRung = Callable[[float, int], None]
"""Gets a score on validation and the percent of iterations done; raises to stop the trial."""


@dataclass(frozen=True)
class TrialResult:
    """A finished distillation.

    Attributes:
        synthetic: the set after the last iteration.
        start: the set it started from.
        score: of ``synthetic`` on validation.
        start_score: of ``start`` on validation.
        relative_change: distance from the start over the start's own norm.
        distill_seconds: wall time inside the method.
        objectives: what the search raises, by name: the mean of ``score``, that of ``cross``, or both.
        cross: scores on architectures the set was not distilled with, on validation; None where left out.
    """

    synthetic: SyntheticSet
    start: SyntheticSet
    score: Score
    start_score: Score
    relative_change: float
    distill_seconds: float
    objectives: Mapping[str, float]
    cross: CrossScore | None = None

    @property
    def objective(self) -> float:
        """The mean of the objectives: one number to list trials by."""
        return statistics.fmean(self.objectives.values())


def rung_iterations(num_iterations: int, rungs: tuple[float, ...]) -> dict[int, int]:
    """At which iterations a set is scored, with the percent each stands for."""
    marks = {max(1, round(rung * num_iterations)): round(100 * rung) for rung in rungs}
    return {iteration: percent for iteration, percent in marks.items() if iteration < num_iterations}


def run_trial(
    context: RunContext, config: RunConfig, recorder: Recorder, callback: Callback, on_rung: OnRung | None
) -> TrialResult:
    """Distil under one configuration, recording as it goes, and score the result on validation.

    Args:
        context: shared data and scores.
        config: this trial's configuration.
        recorder: the trial's run; left open.
        callback: told of every iteration and score.
        on_rung: asked at each rung; None skips the rungs.

    Raises:
        DivergedError: a loss or an image is not finite; carries the iteration.
    """
    loop = _Loop(context, config, recorder, callback, on_rung)
    method = find_method(config.method)(config.distill)
    _prepare(method, loop)
    clock = time.perf_counter()
    for progress in method.distill(context.task(config), context.distill_generators()):
        loop.distill_seconds += time.perf_counter() - clock
        loop.observe(progress)
        clock = time.perf_counter()
    return loop.finish()


def _prepare(method: Method[Any], loop: _Loop) -> None:
    """Record what the method tells of itself, and let it make ready what it needs."""
    context, recorder = loop.context, loop.recorder
    log_bar_figures(recorder, loop.config, context)
    weights = method.layer_weights(loop.config.model, context.splits.image_shape)
    if weights:
        recorder.log_params({f"layer_weight.{layer}": round(weight, 6) for layer, weight in weights.items()})
    done = method.prepare(context.task(loop.config), context.distill_generators(), loop.callback.on_experts)
    recorder.log_metrics(done.metrics)
    recorder.set_tags(done.tags)


@dataclass
class _Loop:
    context: RunContext
    config: RunConfig
    recorder: Recorder
    callback: Callback
    on_rung: OnRung | None
    distill_seconds: float = 0.0
    cross_seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    start: SyntheticSet | None = None
    last: Progress | None = None
    rungs: dict[int, int] = field(init=False)
    every: int = field(init=False)

    def __post_init__(self) -> None:
        total = self.config.distill.num_iterations
        self.rungs = rung_iterations(total, self.config.search.rungs) if self.on_rung else {}
        self.every = max(1, total // MAX_CURVE_POINTS)

    def observe(self, progress: Progress) -> None:
        self.last = progress
        losses = {name: float(value) for name, value in progress.losses.items()}
        self.callback.on_iteration(progress.iteration, losses)
        for name, value in losses.items():
            if not math.isfinite(value):
                raise DivergedError(name, progress.iteration)
        if losses and progress.iteration % self.every == 0:
            self.recorder.log_metrics(losses, progress.iteration)
        if self.start is None:
            self.start = progress.snapshot()
            log_grid(self.recorder, self.start, self.context.splits, progress.iteration)
        elif progress.iteration in self.rungs:
            self._score_rung(progress)

    def _score_rung(self, progress: Progress) -> None:
        synthetic = _finite(progress.snapshot(), progress.iteration)
        log_grid(self.recorder, synthetic, self.context.splits, progress.iteration)
        score = self.context.score(synthetic, "rung", self.config.search.num_rung_seeds)
        self._log_score(score, progress.iteration)
        assert self.on_rung is not None
        try:
            self.on_rung(self._rung_value(synthetic, score), self.rungs[progress.iteration])
        except Exception:
            # Whoever compares trials wants to see what a pruned one had made by then.
            log_final_grid(self.recorder, synthetic, self.context.splits)
            raise

    def _rung_value(self, synthetic: SyntheticSet, score: Score) -> float:
        """What weak trials are told by: the objective, or of two the one that costs less to measure."""
        if self.config.search.objective != "cross-arch":
            return score.mean
        cross = self._cross(synthetic, "rung")
        assert cross is not None
        assert cross.mean is not None
        return cross.mean

    def _cross(self, synthetic: SyntheticSet, purpose: str) -> CrossScore | None:
        """The score on other architectures, its time counted; None where the run asks for none."""
        if self.context.cross is None:
            return None
        started = time.perf_counter()
        cross = self.context.cross.score(synthetic, purpose)
        self.cross_seconds += time.perf_counter() - started
        return cross

    def _log_score(self, score: Score, iteration: int) -> None:
        self.callback.on_score(iteration, score)
        self.recorder.log_metrics({"val/accuracy": score.mean, "val/accuracy_std": score.std}, iteration)

    def finish(self) -> TrialResult:
        assert self.start is not None
        assert self.last is not None
        iteration, seeds = self.last.iteration, self.config.search.num_trial_seeds
        synthetic = _finite(self.last.snapshot(), iteration)
        change = float((synthetic.images - self.start.images).norm() / self.start.images.norm())
        if self.config.distill.num_iterations and change < NEGLIGIBLE_CHANGE:
            self.callback.on_warning(
                f"the images moved by {change:.1e} of their start only: the method did nothing; "
                "raise the image learning rate or the iterations"
            )
        score = self.context.score(synthetic, "trial", seeds)
        self._log_score(score, iteration)
        cross = self._cross(synthetic, "trial")
        result = TrialResult(
            synthetic=synthetic,
            start=self.start,
            score=score,
            start_score=self.context.score(self.start, "trial", seeds),
            relative_change=change,
            distill_seconds=self.distill_seconds,
            objectives=objective_values(self.config.search, score, cross),
            cross=cross,
        )
        self._log_result(
            result, iteration, self.context.random_score("trial", self.config.search.num_random_seeds)
        )
        return result

    def _log_result(self, result: TrialResult, iteration: int, random: Score) -> None:
        metrics = {
            "objective": result.objective,
            "val/gain_over_random": result.score.mean - random.mean,
            "val/gain_over_start": result.score.mean - result.start_score.mean,
            "random/val_accuracy": random.mean,
            "random/val_accuracy_std": random.std,
            "start/val_accuracy": result.start_score.mean,
            "synthetic/relative_change": result.relative_change,
            "cost/distill_seconds": result.distill_seconds,
            "cost/evaluation_seconds": result.score.seconds,
        }
        metrics.update({f"val/{name}": mean for name, mean in result.score.extra_means().items()})
        if result.cross is not None and (pool := self.context.cross) is not None:
            metrics.update(pool.metrics(result.cross))
            metrics["cost/cross_share"] = self.cross_seconds / (time.perf_counter() - self.started)
        if iteration:
            metrics["cost/seconds_per_iteration"] = result.distill_seconds / iteration
        self.recorder.log_metrics(metrics, iteration)


def _finite(synthetic: SyntheticSet, iteration: int) -> SyntheticSet:
    if not bool(synthetic.images.isfinite().all()):
        raise DivergedError("a synthetic image", iteration)
    return synthetic
