"""A set on every architecture of a pool, random real images beside it: scores, metrics and table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from study.core.device import num_cores
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.evaluation.architectures import Bench, Contender, CrossScore
from study.evaluation.statistics import summarize
from study.models.pool import ModelConfig
from study.runs.context.callbacks import Callback

__all__ = ["TABLE_NAME", "ModelScores", "PoolScores", "describe_score", "score_pool"]

TABLE_NAME = "architectures.json"

Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelScores:
    """One row of the table of architectures.

    Attributes:
        is_own: whether the set was distilled with this architecture.
        lr: learning rate at the start; ``None`` where the set's own step size or steps are used.
        distilled: mean, deviation, n, values and bootstrap interval of the set.
        random: the same of random real images.
    """

    model: str
    width: int | None
    is_own: bool
    lr: float | None
    distilled: dict[str, Any]
    random: dict[str, Any]


@dataclass(frozen=True)
class PoolScores:
    """Scores by architecture of a set and of random real images, and the rows they make."""

    distilled: CrossScore
    random: CrossScore
    rows: list[ModelScores]

    def metrics(self, prefix: str) -> dict[str, float]:
        """What the run records: the set's own architecture under the split, the others under ``cross``."""
        distilled, random = (cross.scores[cross.own] for cross in (self.distilled, self.random))
        metrics = {
            f"{prefix}/accuracy": distilled.mean,
            f"{prefix}/accuracy_std": distilled.std,
            f"{prefix}/gain_over_random": distilled.mean - random.mean,
            f"random/{prefix}_accuracy": random.mean,
            f"random/{prefix}_accuracy_std": random.std,
        }
        metrics.update({f"cross/{name}": value for name, value in self.distilled.metrics().items()})
        metrics.update({f"random/cross_{name}": value for name, value in self.random.metrics().items()})
        return metrics

    def table(self) -> list[dict[str, object]]:
        """The rows for the table of the UI, one value a cell."""
        return [_flat(row) for row in self.rows]


def score_pool(
    synthetic: SyntheticSet,
    real: ImageDataset,
    ipc: int,
    own: ModelConfig,
    pool: Mapping[str, ModelConfig],
    bench: Bench,
    num_seeds: int,
    callback: Callback,
) -> PoolScores:
    """Train networks of every architecture on a set, and on random real images.

    Where the recipe uses fewer threads than there are cores, architectures are trained side by side; the
    scores are the same.

    Args:
        synthetic: the set.
        real: images to classify.
        ipc: images a class of the random draws.
        own: what the set was distilled with; ``pool`` has it under its name.
        pool: networks by name.
        bench: data, recipe, machine and seeds.
        num_seeds: networks of each architecture.
        callback: told of each.
    """

    def score(name: str) -> tuple[Contender, Score, Score]:
        contender = bench.contender(name, pool[name], own, ipc)
        callback.on_phase(f"training {2 * num_seeds} networks of {name}")
        distilled = bench.score(synthetic, real, contender, num_seeds)
        return contender, distilled, bench.random_score(real, ipc, contender, num_seeds)

    found = dict(zip(pool, _each(score, list(pool), _num_workers(bench)), strict=True))
    return PoolScores(
        CrossScore({name: distilled for name, (_, distilled, _) in found.items()}, own.name),
        CrossScore({name: random for name, (_, _, random) in found.items()}, own.name),
        [
            _row(contender, synthetic, distilled, random, bench.generators)
            for contender, distilled, random in found.values()
        ],
    )


def _num_workers(bench: Bench) -> int:
    """Architectures to train side by side: as many as there are cores that the recipe's threads leave idle."""
    if bench.compute.device.type != "cpu":
        return 1
    return max(1, num_cores() // torch.get_num_threads())


def _each(work: Callable[[str], Result], names: Sequence[str], num_workers: int) -> list[Result]:
    """The results of all names in their order; the first error, or Ctrl-C, lets no further work begin."""
    if num_workers == 1:
        return [work(name) for name in names]
    with ThreadPoolExecutor(num_workers) as workers:
        futures = [workers.submit(work, name) for name in names]
        try:
            return [future.result() for future in futures]
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def _row(
    contender: Contender, synthetic: SyntheticSet, distilled: Score, random: Score, generators: Generators
) -> ModelScores:
    recipe = contender.config.resolve()
    learned = recipe.use_learned_step_size and synthetic.step_size is not None
    learned |= recipe.use_schedule and synthetic.schedule is not None
    return ModelScores(
        model=contender.name,
        width=contender.model.width,
        is_own=contender.is_own,
        lr=None if learned else recipe.lr,
        distilled=describe_score(distilled, generators.child("interval", contender.name, "distilled")),
        random=describe_score(random, generators.child("interval", contender.name, "random")),
    )


def describe_score(score: Score, generators: Generators) -> dict[str, Any]:
    """A score's summary with the bootstrap interval of its mean."""
    interval = summarize(score.values, generators["bootstrap"])
    bounds = {"low": interval.low, "high": interval.high, "confidence": interval.confidence}
    return {**score.summary(), **bounds}


def _flat(row: ModelScores) -> dict[str, object]:
    plain: dict[str, object] = {"model": row.model, "distilled with it": row.is_own, "lr": row.lr}
    for name, scores in (("distilled", row.distilled), ("random", row.random)):
        plain.update({f"{name} {key}": scores[key] for key in ("mean", "std", "low", "high")})
    return {**plain, "n": row.distilled["n"]}
