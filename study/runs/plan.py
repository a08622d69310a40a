"""What a search would do and cost, from a few timed iterations; nothing is stored."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from study.core.device import peak_memory
from study.core.records import SyntheticSet
from study.core.spaces import describe
from study.evaluation.architectures import num_rate_networks
from study.methods.base import find_method
from study.runs.config.configure import RunConfig
from study.runs.context.run_context import RunContext, open_context
from study.runs.context.stores import StoreOptions
from study.runs.trials.preparations import cache_shortage, num_preparations
from study.runs.trials.trial import rung_iterations

TIMED_ITERATIONS = 3
WARM_UP_ITERATIONS = 2


@dataclass(frozen=True)
class Plan:
    """The space, the counts and the estimated cost of a search.

    Attributes:
        space: what is searched, in words.
        seconds_per_iteration: of the method, measured without compilation.
        seconds_per_score: of one evaluation network, measured.
        estimated_seconds: of the whole search if nothing is pruned.
        peak_memory_bytes: of this process so far, data included; 0 where the system does not say.
        preparation: what the method prepares, such as experts, its cost for the recipe's own settings, how many
            different ones the space asks for, and the ``shortage`` of room for them, if any; None for other methods.
        cross: the other architectures that trials are scored on, measured: seconds of one network of each,
            how many networks of each the search trains, and what that comes to; None where there are none.

    Example:
        >>> import study
        >>> study.plan(study.configure("dm", budget="smoke")).space["distill.image_lr"]
        '0.1 to 10, log'
    """

    name: str
    experiment: str
    digest: str
    num_trials: int
    num_iterations: int
    space: dict[str, str]
    data: dict[str, Any]
    machine: dict[str, str]
    seconds_per_iteration: float
    seconds_per_score: float
    estimated_seconds: float
    peak_memory_bytes: int
    preparation: dict[str, Any] | None = None
    cross: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


def plan(config: RunConfig, stores: StoreOptions) -> Plan:
    """Load the data, time a few iterations and one evaluation network, and extrapolate."""
    config.first_trial()
    context = open_context(config, stores.data_root)
    synthetic, seconds_per_iteration = _time_iterations(config, context)
    started = time.perf_counter()
    context.scorer("plan").score(synthetic, 1)
    seconds_per_score = time.perf_counter() - started
    search, iterations = config.search, config.distill.num_iterations
    num_rungs = len(rung_iterations(iterations, search.rungs))
    per_trial = num_rungs * search.num_rung_seeds + search.num_trial_seeds
    scores = search.num_trials * per_trial + search.num_random_seeds * 2
    scores += search.num_finalist_seeds * (min(search.num_finalists, search.num_trials) + 2)
    seconds = search.num_trials * iterations * seconds_per_iteration + scores * seconds_per_score
    preparation = _plan_preparation(config, context)
    if preparation is not None:
        seconds += preparation["estimated_seconds"] * min(search.num_trials, preparation["variants"])
    cross = _plan_cross(config, context, synthetic, num_rungs)
    if cross is not None:
        seconds += cross["estimated_seconds"]
    splits, counts = context.splits, context.splits.class_counts()
    data = {"image_shape": list(splits.image_shape), "classes": splits.num_classes, "train": sum(counts["train"]),
            "validation": sum(counts["validation"]), "test": len(splits.test)}  # fmt: skip
    return Plan(
        name=config.set_name,
        experiment=config.experiment_name,
        digest=config.digest,
        num_trials=search.num_trials,
        num_iterations=iterations,
        space={key: describe(parameter) for key, parameter in config.space.items()},
        data=data,
        machine=context.compute.describe(),
        seconds_per_iteration=seconds_per_iteration,
        seconds_per_score=seconds_per_score,
        estimated_seconds=seconds,
        peak_memory_bytes=peak_memory(),
        preparation=preparation,
        cross=cross,
    )


def _time_iterations(config: RunConfig, context: RunContext) -> tuple[SyntheticSet, float]:
    method = find_method(config.method)(config.distill)
    last = WARM_UP_ITERATIONS + TIMED_ITERATIONS
    started, synthetic, timed = 0.0, None, 0
    # Experts may take hours to train, and cost the same time to match once they are there.
    for progress in method.rehearse(context.task(config), context.distill_generators()):
        if progress.iteration == WARM_UP_ITERATIONS:
            started = time.perf_counter()
        timed = max(0, progress.iteration - WARM_UP_ITERATIONS)
        synthetic = progress.snapshot()
        if progress.iteration >= last:
            break
    assert synthetic is not None
    return synthetic, (time.perf_counter() - started) / timed if timed else 0.0


def _plan_cross(
    config: RunConfig, context: RunContext, synthetic: SyntheticSet, num_rungs: int
) -> dict[str, Any] | None:
    """What scoring on other architectures costs, random real images and the choice of learning rates included."""
    pool, search = context.pool, config.search
    if pool is None:
        return None
    seconds = pool.time_networks(synthetic)
    # Rungs go by the other architectures only where nothing else is raised.
    scores = search.num_trials * (1 + (num_rungs if search.objectives == ("cross-arch",) else 0))
    if "cross-arch" in search.objectives:
        scores += min(search.num_finalists, search.num_trials)
    networks = {name: (scores + 1) * pool.num_seeds + num_rate_networks(name) for name in seconds}
    return {
        "seconds_per_network": seconds,
        "networks": networks,
        "estimated_seconds": sum(networks[name] * seconds[name] for name in seconds),
    }


def _plan_preparation(config: RunConfig, context: RunContext) -> dict[str, Any] | None:
    method = find_method(config.method)(config.distill, config.space)
    estimate = method.estimate(context.task(config), context.distill_generators())
    if not estimate.summary:
        return None
    return {
        "summary": estimate.summary,
        **estimate.facts,
        "bytes": estimate.num_bytes,
        "estimated_seconds": estimate.seconds,
        "variants": num_preparations(config),
        "shortage": cache_shortage(config, context),
    }
