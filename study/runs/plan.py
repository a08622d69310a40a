"""What a search would do and cost: counted work, at this machine's speed by a few timed steps; nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from study.core.device import peak_memory
from study.core.spaces import describe
from study.evaluation.architectures import ArchitecturePool, num_rate_networks
from study.evaluation.baselines import random_real_sets
from study.methods.base import Task, find_method
from study.models.work import nominal_seconds
from study.runs.config.configure import RunConfig
from study.runs.config.counting import DataSize, iteration_seconds, num_scored_networks, score_loads
from study.runs.context.run_context import RunContext, open_context
from study.runs.context.stores import StoreOptions
from study.runs.trials.preparations import cache_shortage, num_preparations

TIMED_STEPS = (10, 40)
"""Of an evaluation network: what more of them take is the training's, the rest is what every network costs once."""
TIMED_ITERATIONS = 2
FASTEST = 10.0
"""Times the nominal speed, which no timing is taken to exceed."""
REHEARSED_IMAGES = 256
"""Real images a class, at most, of which iterations are timed, unless a batch has more."""
LONGEST_TIMED = 2.0
"""Nominal seconds of an iteration above which none is timed; counting has to do."""
START_SECONDS = 8.0
"""Importing, opening the stores, registering the winner."""
RUN_SECONDS = 0.7
"""Tracking one trial."""


@dataclass(frozen=True)
class Plan:
    """The space, the counts and the estimated cost of a search.

    Attributes:
        space: what is searched, in words.
        chosen: what the budget's limits decided, and why.
        seconds_per_iteration: of the method, without compilation.
        seconds_per_score: of one evaluation network, validation included.
        parts: what the whole comes to, in seconds, if nothing is pruned.
        estimated_seconds: their sum.
        speed: this machine's time for counted work, in that of the nominal one, from timed steps.
        peak_memory_bytes: of this process so far, data included; 0 where the system does not say.
        preparation: what the method prepares, such as experts, its cost for the recipe's own settings, how many
            different ones the space asks for, and the ``shortage`` of room for them, if any; None for other methods.
        cross: the other architectures that trials are scored on, and how many networks of each the search trains.

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
    chosen: dict[str, str]
    data: dict[str, Any]
    machine: dict[str, str]
    seconds_per_iteration: float
    seconds_per_score: float
    parts: dict[str, float]
    estimated_seconds: float
    speed: float
    peak_memory_bytes: int
    preparation: dict[str, Any] | None = None
    cross: dict[str, int] | None = None

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


def plan(config: RunConfig, stores: StoreOptions) -> Plan:
    """Load the data, count the work, and time a few steps of it."""
    config.first_trial()
    context = open_context(config, stores.data_root)
    # A compiler would take longer than what is timed.
    context.compute = replace(context.compute, compile="off")
    config, search = context.config, context.config.search
    size, data = DataSize.of(context.splits), _describe_data(context)
    score, speed = _time_score(context, size)
    iteration = _time_iteration(context, size, speed)
    num_networks = num_scored_networks(search)
    iterations = config.distill.num_iterations
    cross = _count_cross(context)
    preparation = _plan_preparation(config, context, speed)
    variants = min(search.num_trials, preparation["variants"]) if preparation else 0
    parts = {
        "start": START_SECONDS,
        "preparation": preparation["estimated_seconds"] * variants if preparation else 0.0,
        "distilling": search.num_trials * iterations * iteration,
        "scores": num_networks * score,
        "other architectures": speed * sum(
            number * nominal_seconds(score_loads(config.model_copy(update={"model": model}), size))
            for model, number in cross.values()
        ),
        "tracking": RUN_SECONDS * search.num_trials,
    }  # fmt: skip
    return Plan(
        name=config.set_name,
        experiment=config.experiment_name,
        digest=config.digest,
        num_trials=search.num_trials,
        num_iterations=iterations,
        space={key: describe(parameter) for key, parameter in config.space.items()},
        chosen=config.work.chosen,
        data=data,
        machine=context.compute.describe(),
        seconds_per_iteration=iteration,
        seconds_per_score=score,
        parts=parts,
        estimated_seconds=sum(parts.values()),
        speed=speed,
        peak_memory_bytes=peak_memory(),
        preparation=preparation,
        cross={name: number for name, (_, number) in cross.items()} or None,
    )


def _describe_data(context: RunContext) -> dict[str, Any]:
    """Shape, classes and images of each part; test stays sealed."""
    splits, counts = context.splits, context.splits.class_counts()
    return {"image_shape": list(splits.image_shape), "classes": splits.num_classes, "train": sum(counts["train"]),
            "validation": sum(counts["validation"]), "test": len(splits.test)}  # fmt: skip


def _time_score(context: RunContext, size: DataSize) -> tuple[float, float]:
    """Seconds of a whole score, and this machine's time for counted work, from a few steps on random real images.

    Of two turns the better counts, since the first one also warms the machine up.
    """
    config = context.config
    sets = random_real_sets(context.train, config.ipc, 2, context.generators.child("plan"))

    def timed(num_steps: int) -> float:
        evaluator = context.scorer("plan").with_recipe(num_steps=num_steps)
        return min(evaluator.score(drawn, 1).seconds for drawn in sets)

    def counted(num_steps: int) -> float:
        short = config.evaluation.model_copy(update={"num_steps": num_steps})
        return nominal_seconds(score_loads(config.model_copy(update={"evaluation": short}), size))

    few, more = TIMED_STEPS
    seconds, step = timed(few), (counted(more) - counted(few)) / (more - few)
    # A machine that was busy during the first turns must not look infinitely fast.
    one = max((timed(more) - seconds) / (more - few), step / FASTEST)
    whole = config.evaluation.resolve().steps(size.of_task(config).num_synthetic)
    return seconds + (whole - few) * one, one / step


def _time_iteration(context: RunContext, size: DataSize, speed: float) -> float:
    """Seconds of an iteration: timed after a first one where that is short, else counted."""
    config = context.config
    method = find_method(config.method)(config.distill, config.space)
    counted = speed * iteration_seconds(config, size)
    if not counted or counted > LONGEST_TIMED or config.distill.num_iterations <= TIMED_ITERATIONS:
        return counted
    # Of a method with experts these are untrained ones, which cost the same time to match.
    steps: Iterator[Any] = method.rehearse(
        _some_of(context.task(config), config), context.distill_generators()
    )
    seconds, began = [], None
    for progress in steps:
        if began is not None:
            seconds.append(time.perf_counter() - began)
        if progress.iteration > TIMED_ITERATIONS:
            break
        began = time.perf_counter()
    return min(seconds)


def _some_of(task: Task, config: RunConfig) -> Task:
    """The task with a few real images a class, so that methods that look through all of them start soon."""
    most = max(REHEARSED_IMAGES, config.ipc, config.plain()["distill"].get("batch_real") or 0)
    few = torch.cat([members[:most] for members in task.train.class_indices()])
    return replace(task, train=task.train.subset(few.sort().values))


def _count_cross(context: RunContext) -> dict[str, tuple[Any, int]]:
    """The other architectures by name, each with the networks of it that a search trains."""
    pool: ArchitecturePool | None = context.pool
    if pool is None:
        return {}
    search = context.config.search
    # Rungs go by the other architectures only where nothing else is raised.
    scores = search.num_trials * (1 + (len(search.rungs) if search.objectives == ("cross-arch",) else 0))
    scores += min(search.num_finalists, search.num_trials)
    return {
        name: (model, scores * pool.num_seeds + pool.num_random[name] + num_rate_networks(name))
        for name, model in pool.models.items()
    }


def _plan_preparation(config: RunConfig, context: RunContext, speed: float) -> dict[str, Any] | None:
    method = find_method(config.method)(config.distill, config.space)
    estimate = method.estimate(context.task(config), context.distill_generators())
    if not estimate.summary:
        return None
    return {
        "summary": estimate.summary,
        **estimate.facts,
        "bytes": estimate.num_bytes,
        "estimated_seconds": speed * estimate.seconds,
        "variants": num_preparations(config),
        "shortage": cache_shortage(config, context),
    }
