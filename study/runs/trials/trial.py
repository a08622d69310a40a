"""One distillation: the loop around a method, which scores, records and prunes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from study.core.clock import Split, cost_metrics
from study.core.errors import DivergedError
from study.core.records import Progress, Score, SyntheticSet
from study.core.reporting import work
from study.evaluation.architectures import CrossScore
from study.methods.base import Method, find_method
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.figures.run import log_bar_figures, log_final_grid, log_grid
from study.runs.registration.results import TrialResult
from study.search.config import SearchConfig
from study.tracking.base import Recorder

MAX_CURVE_POINTS = 200
"""Of each loss curve; a longer run is thinned, so that tracking stays cheap."""

NEGLIGIBLE_CHANGE = 1e-3

OnRung = Callable[[float, int], None]
"""Gets a score on validation and the percent of iterations done; raises to stop the trial."""

MayWin = Callable[[Sequence[float]], bool]
"""Gets the scores of a finished trial's first networks; whether it is worth more of them."""


def rung_iterations(num_iterations: int, rungs: tuple[float, ...]) -> dict[int, int]:
    """At which iterations a set is scored, with the percent each stands for."""
    marks = {max(1, round(rung * num_iterations)): round(100 * rung) for rung in rungs}
    return {iteration: percent for iteration, percent in marks.items() if iteration < num_iterations}


def run_trial(
    context: RunContext,
    config: RunConfig,
    recorder: Recorder,
    callback: Callback,
    on_rung: OnRung | None = None,
    may_win: MayWin | None = None,
) -> TrialResult:
    """Distil under one configuration, recording as it goes, and score the result on validation.

    The recorder's run is left open; without ``on_rung`` rungs are skipped, and without ``may_win`` no network of
    the score is saved. However it ends, where its time went is recorded.

    Raises:
        DivergedError: a loss or an image is not finite; carries the iteration.
    """
    loop = _Loop(context, config, recorder, callback, on_rung, may_win)
    method = find_method(config.method)(config.distill, config.space)
    try:
        _prepare(method, loop)
        _distill(method, loop)
        return loop.finish()
    finally:
        loop.log_cost()


def _prepare(method: Method[Any], loop: _Loop) -> None:
    """Record what the method tells of itself, and let it make ready what it needs."""
    context, recorder = loop.context, loop.recorder
    weights = method.layer_weights(loop.config.model, context.splits.image_shape)
    if weights:
        recorder.log_params({f"layer_weight.{layer}": round(weight, 6) for layer, weight in weights.items()})
    with context.clock.part("experts"):
        done = method.prepare(context.task(loop.config), context.distill_generators())
    recorder.log_metrics(done.metrics)
    recorder.set_tags(done.tags)


def _distill(method: Method[Any], loop: _Loop) -> None:
    """Have the method make its iterations, and observe each."""
    context, config = loop.context, loop.config
    progress = iter(method.distill(context.task(config), context.distill_generators()))
    # A selection has no iterations: its start is all it makes.
    with context.clock.part("start" if config.distill.num_iterations else "distill"):
        first = next(progress)
    with context.clock.part("distill"):
        for one in itertools.chain([first], progress):
            loop.observe(one)


@dataclass
class _Loop:
    context: RunContext
    config: RunConfig
    recorder: Recorder
    callback: Callback
    on_rung: OnRung | None
    may_win: MayWin | None
    start: SyntheticSet | None = None
    last: Progress | None = None
    rungs: dict[int, int] = field(init=False)
    every: int = field(init=False)
    begun: Split = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.context.clock.split()
        total = self.config.distill.num_iterations
        self.rungs = rung_iterations(total, self.config.search.rungs) if self.on_rung else {}
        self.every = max(1, total // MAX_CURVE_POINTS)

    def observe(self, progress: Progress) -> None:
        self.last = progress
        losses = tell_losses(progress, self.callback)
        if losses and progress.iteration % self.every == 0:
            self.recorder.log_metrics(losses, progress.iteration)
        if self.start is None:
            self.start = progress.snapshot()
            if self.start.step_size is not None:
                self.recorder.log_metrics({"start/step_size": self.start.step_size}, progress.iteration)
            with self.context.clock.part("tracking"):
                log_grid(self.recorder, self.start, self.context.splits, progress.iteration)
        elif progress.iteration in self.rungs:
            with self.context.clock.part("rungs"):
                self._score_rung(progress)

    def _score_rung(self, progress: Progress) -> None:
        synthetic = _finite(progress.snapshot(), progress.iteration)
        with self.context.clock.part("tracking"):
            log_grid(self.recorder, synthetic, self.context.splits, progress.iteration)
        with work("scoring at a rung", self.config.search.num_rung_seeds):
            score = self.context.scorer("rung").score(synthetic, self.config.search.num_rung_seeds)
        self._log_score(score, progress.iteration)
        assert self.on_rung is not None
        try:
            self.on_rung(self._rung_value(synthetic, score), self.rungs[progress.iteration])
        except Exception:
            # Whoever compares trials wants to see what a pruned one had made by then.
            with self.context.clock.part("tracking"):
                log_final_grid(self.recorder, synthetic, self.context.splits)
                log_bar_figures(self.recorder, self.config, self.context)
            raise

    def _rung_value(self, synthetic: SyntheticSet, score: Score) -> float:
        """The value that pruning compares: the objective, or of two the one that costs less to measure."""
        if self.config.search.objective != "cross-arch":
            return score.mean
        cross = self.context.cross_score(synthetic, "rung")
        assert cross is not None
        assert cross.mean is not None
        return cross.mean

    def _log_score(self, score: Score, iteration: int) -> None:
        self.callback.on_score(iteration, score)
        self.recorder.log_metrics({"val/accuracy": score.mean, "val/accuracy_std": score.std}, iteration)

    def finish(self) -> TrialResult:
        assert self.start is not None
        assert self.last is not None
        iteration = self.last.iteration
        synthetic = _finite(self.last.snapshot(), iteration)
        change = float((synthetic.images - self.start.images).norm() / self.start.images.norm())
        if self.config.distill.num_iterations and change < NEGLIGIBLE_CHANGE:
            self.callback.on_warning(
                f"the images moved by {change:.1e} of their start only: the method did nothing; "
                "raise the image learning rate or the iterations"
            )
        with self.context.clock.part("scores"):
            score, start_score = self._scores(synthetic, self.start)
        self._log_score(score, iteration)
        cross = self.context.cross_score(synthetic, "trial")
        result = TrialResult(
            run_id=self.recorder.run_id,
            synthetic=synthetic,
            score=score,
            start_score=start_score,
            random=self.context.random(),
            relative_change=change,
            objectives=objective_values(self.config.search, score, cross),
            cross=cross,
            cross_random=self.context.cross_random(),
            fitness=self.context.fitness(synthetic, cross, change),
        )
        self.callback.on_random(result.random)
        self._log_result(result)
        with self.context.clock.part("tracking"):
            log_bar_figures(self.recorder, self.config, self.context)
        return result

    def _scores(self, synthetic: SyntheticSet, start: SyntheticSet) -> tuple[Score, Score]:
        """Of the set and of its start, by the same networks: all of them only where the trial may win."""
        search, scorer = self.config.search, self.context.scorer("trial")
        num_seeds, both = search.num_trial_seeds, (synthetic, start)
        with work("scoring a trial", 2 * num_seeds):
            if self.may_win is None or search.num_first_seeds is None:
                score, of_start = (scorer.score(one, num_seeds) for one in both)
                return score, of_start
            score, of_start = (scorer.score(one, search.num_first_seeds) for one in both)
            if not self.may_win(score.values):
                return score, of_start
            return scorer.extend(synthetic, score, num_seeds), scorer.extend(start, of_start, num_seeds)

    def _log_result(self, result: TrialResult) -> None:
        """What holds of the whole trial: without a step, which the UI draws as a bar and not as a dot at the end."""
        random = result.random
        metrics = {
            "objective": result.objective,
            "val/num_seeds": float(result.score.n),
            "val/gain_over_random": result.score.mean - random.mean,
            "val/gain_over_start": result.score.mean - result.start_score.mean,
            "random/val_accuracy": random.mean,
            "random/val_accuracy_std": random.std,
            "random/num_seeds": float(random.n),
            "start/val_accuracy": result.start_score.mean,
            "synthetic/relative_change": result.relative_change,
        }
        metrics.update({f"val/{name}": mean for name, mean in result.score.extra_means().items()})
        metrics.update(result.cross_metrics())
        self.recorder.log_metrics(metrics)

    def log_cost(self) -> None:
        """Record where the time of the trial went so far."""
        cost = self.context.clock.since(self.begun)
        metrics = cost_metrics(cost)
        iteration = 0 if self.last is None else self.last.iteration
        if cost["cross"]:
            metrics["cost/cross_share"] = cost["cross"] / sum(cost.values())
        if iteration:
            metrics["cost/seconds_per_iteration"] = cost["distill"] / iteration
        self.recorder.log_metrics(metrics)


def tell_losses(progress: Progress, callback: Callback) -> dict[str, float]:
    """The losses of an iteration as plain numbers, once the callback knows them.

    Raises:
        DivergedError: one is not finite.
    """
    losses = {name: float(value) for name, value in progress.losses.items()}
    callback.on_iteration(progress.iteration, losses)
    for name, value in losses.items():
        if not math.isfinite(value):
            raise DivergedError(name, progress.iteration)
    return losses


def objective_values(config: SearchConfig, score: Score, cross: CrossScore | None) -> dict[str, float]:
    """Values of the search's objectives by name, in its order; ``cross`` is None only where none needs it."""
    measured = {"accuracy": score.mean, "cross-arch": None if cross is None else cross.mean}
    values: dict[str, float] = {}
    for name in config.objectives:
        value = measured[name]
        assert value is not None
        values[name] = value
    return values


def _finite(synthetic: SyntheticSet, iteration: int) -> SyntheticSet:
    if not bool(synthetic.images.isfinite().all()):
        raise DivergedError("a synthetic image", iteration)
    return synthetic
