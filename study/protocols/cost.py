"""Cost: what does training on a set save against training on real data to the same accuracy?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError
from study.core.records import ImageDataset, SyntheticSet
from study.core.seeding import Generators
from study.evaluation.architectures import foreign_recipe
from study.evaluation.baselines import full_set
from study.evaluation.evaluator import Evaluator, score_rows
from study.evaluation.metrics import predict, score_logits
from study.evaluation.training import TrainingJob, train_networks
from study.protocols.base import Findings, Protocol, Session, register
from study.protocols.figures import draw_bars

FIRST_STEPS = 4
STEPS_FACTOR = 1.5
TOLERANCE = 0.005
"""By how much a shorter training may miss the accuracy of the set's own recipe and still count as equal."""
OWN, SHORT, REAL = "distilled, own recipe", "distilled, shortest", "whole data, shortest"


@register
class Cost(Protocol):
    """The set's own training, the shortest that equals it, and the shortest on all real data that does."""

    name: ClassVar[str] = "cost"
    about: ClassVar[str] = "FLOPs, time and bytes against real data at the same accuracy"
    only_validation: ClassVar[str] = "the length of training is chosen by its scores"

    def measure(self, session: Session) -> Findings:
        """Three trainings to one accuracy, and what each costs."""
        evaluator, synthetic = session.evaluator, session.synthetic
        session.report("training by the set's own recipe")
        own = training_cost(evaluator.job(synthetic), session.real, evaluator.seeds(session.num_seeds))
        target = max(0.0, own.accuracy - TOLERANCE)
        found = {OWN: own}
        for name, some, there in (
            (SHORT, synthetic, evaluator.with_recipe(use_schedule=False)),
            (REAL, full_set(evaluator.train), evaluator.changed(config=foreign_recipe(evaluator.config))),
        ):
            session.report(f"looking for the shortest training: {name}")
            found[name] = cheapest_training(
                some, target, there, num_seeds=session.num_seeds, max_steps=max(2000, own.num_steps)
            )
        # The search has seeds of its own, and may miss by a hair what the recipe reaches in fewer steps.
        if found[SHORT].flops > own.flops:
            found[SHORT] = own
        rows: list[dict[str, Any]] = [{"training": name, **asdict(cost)} for name, cost in found.items()]
        metrics, notes = _savings(session, own, found[SHORT], found[REAL])
        metrics["cost/target_accuracy"] = target
        named = dict(zip(("own recipe", "shortest", "real data"), found.values(), strict=True))
        bars = {
            "FLOPs of one network": {name: cost.flops for name, cost in named.items()},
            "seconds": {name: cost.seconds for name, cost in named.items()},
            "updates": {name: float(cost.num_steps) for name, cost in named.items()},
        }
        title = f"{session.name}: training to {100 * target:.1f} % on validation"
        figure = draw_bars(bars, title=title)
        return Findings(metrics, rows, figures={"cost.png": figure}, notes=notes)


def _savings(
    session: Session, own: TrainingCost, short: TrainingCost, real: TrainingCost
) -> tuple[dict[str, float], list[str]]:
    train, synthetic = session.evaluator.train, session.synthetic
    forward = session.evaluator.job(synthetic).work.forward_flops
    set_bytes = stored_bytes(synthetic.images, synthetic.labels, synthetic.logits)
    real_bytes = stored_bytes(train.images, pixel_bytes=1) + len(train)
    metrics = {"cost/forward_flops": float(forward)}
    for name, cost in (("set", own), ("shortest", short), ("real", real)):
        metrics.update({f"cost/{name}_train_flops": cost.flops, f"cost/{name}_train_seconds": cost.seconds})
    metrics |= {
        "cost/flops_ratio": real.flops / short.flops,
        "cost/seconds_ratio": real.seconds / short.seconds,
        "cost/set_bytes": float(set_bytes),
        "cost/real_bytes": float(real_bytes),
        "cost/storage_ratio": real_bytes / set_bytes,
        "cost/images_ratio": len(train) / len(synthetic),
    }
    notes = [
        "FLOPs are of products and convolutions; real data is counted at 8 bits a pixel, the set as it is stored",
        "ratios above 1 are in favour of the set, its shortest training against the shortest on real data",
    ]
    for cost, name in ((short, "the set"), (real, "real data")):
        if not cost.reached:
            notes.append(
                f"{name} missed the accuracy within {cost.num_steps} updates: its ratios are no bound"
            )
    seconds = session.distill_seconds()
    if seconds is not None:
        metrics["cost/distill_seconds"] = seconds
        saved = real.seconds - short.seconds
        notes.append(
            f"making the set took {seconds:.1f} s, which {seconds / saved:,.0f} trainings earn back"
            if saved > 0
            else f"making the set took {seconds:.1f} s, and training on real data is no slower: never earned back"
        )
    return metrics, notes


@dataclass(frozen=True)
class TrainingCost:
    """One way to train a network, and what it came to.

    Attributes:
        num_steps: updates, of ``batch_size`` images.
        accuracy: mean over ``n`` evaluation seeds, with its ``std`` (ddof 1).
        flops: of training one network, forwards and backwards; products and convolutions are counted.
        seconds: wall time of training one network, its share where several are trained as one.
        reached: whether the accuracy asked for was reached.
    """

    num_steps: int
    batch_size: int
    accuracy: float
    std: float
    n: int
    flops: float
    seconds: float
    reached: bool


def training_cost(
    job: TrainingJob,
    real: ImageDataset,
    seeds: list[Generators],
    target: float = 0.0,
    *,
    warm_up: bool = True,
) -> TrainingCost:
    """Train one network a seed and measure what each cost; classifying ``real`` is not part of that.

    Two steps are trained first by default, so that memory, kernels and threads are there when the clock starts.
    """
    if warm_up:
        short = replace(job, recipe=job.recipe.model_copy(update={"num_steps": 2}))
        # Fresh families of the same seeds: drawing from those given would change what is measured.
        for _ in train_networks(short, [Generators(seed.seed, seed.device) for seed in seeds]):
            pass
    real = real.to(job.compute.device)
    rows, seconds = [], 0.0
    networks = train_networks(job, seeds)
    for _ in seeds:
        started = _now(job.compute)
        network = next(networks)
        seconds += _now(job.compute) - started
        rows.append(score_logits(predict(network, real.images, job.compute), real))
    score = score_rows(rows, real)
    return TrainingCost(
        num_steps=job.num_steps,
        batch_size=job.batch_size,
        accuracy=score.mean,
        std=score.std,
        n=score.n,
        flops=float(job.work.training_flops * _images_seen(job)),
        seconds=seconds / len(seeds),
        reached=score.mean >= target,
    )


def cheapest_training(
    synthetic: SyntheticSet,
    target: float,
    evaluator: Evaluator,
    *,
    num_seeds: int = 3,
    max_steps: int = 2000,
) -> TrainingCost:
    """The shortest training that reaches an accuracy, on a grid of lengths 4, 6, 9, 13, ... steps.

    Each length is a training of its own, with the recipe's whole schedule, from the same seeds; no network
    is stopped early. The lengths are chosen by the accuracy, which must not be of test images.

    Returns:
        The first whose mean over seeds reaches ``target``; otherwise the longest one, with ``reached`` false.

    Raises:
        ConfigError: ``target`` is no fraction, or ``max_steps`` is below 1.
    """
    if not 0 <= target <= 1:
        raise ConfigError(f"target = {target:g}: must be an accuracy between 0 and 1")
    if max_steps < 1:
        raise ConfigError(f"max_steps = {max_steps}: must be at least 1")
    steps = float(min(FIRST_STEPS, max_steps))
    while True:
        job = evaluator.with_recipe(num_steps=int(steps)).job(synthetic)
        seeds = evaluator.seeds(num_seeds)
        cost = training_cost(job, evaluator.real, seeds, target, warm_up=steps <= FIRST_STEPS)
        if cost.reached or int(steps) >= max_steps:
            return cost
        steps = min(steps * STEPS_FACTOR, max_steps)


def stored_bytes(images: Tensor, *others: Tensor | None, pixel_bytes: int = 4) -> int:
    """Bytes of images at ``pixel_bytes`` a value, and of further tensors as they are."""
    rest = sum(other.numel() * other.element_size() for other in others if other is not None)
    return images.numel() * pixel_bytes + rest


def _images_seen(job: TrainingJob) -> int:
    """Images of all updates together; the last batch of an epoch may be short."""
    if job.schedule is not None:
        return job.num_steps * job.batch_size
    num_images = len(job.images)
    epochs, rest = divmod(job.num_steps, -(-num_images // job.batch_size))
    return epochs * num_images + min(rest * job.batch_size, num_images)


def _now(compute: Compute) -> float:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter()
