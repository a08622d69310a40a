"""What training on a set costs, against training on the real data to the same accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.metrics import headline_metric, predict, score_logits
from study.evaluation.protocol import EvaluationConfig, build_job, evaluation_seeds
from study.evaluation.training import TrainingJob, train_networks
from study.models.pool import ModelConfig

__all__ = ["TrainingCost", "cheapest_training", "stored_bytes", "training_cost"]

FIRST_STEPS = 4
STEPS_FACTOR = 1.5


@dataclass(frozen=True)
class TrainingCost:
    """One way to train a network, and what it came to.

    Attributes:
        num_steps: updates.
        batch_size: images an update.
        accuracy: mean over evaluation seeds.
        std: of it, ddof 1.
        n: evaluation seeds.
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

    def plain(self) -> dict[str, float | int | bool]:
        """Plain values for metrics and tables."""
        return asdict(self)


def training_cost(
    job: TrainingJob,
    real: ImageDataset,
    seeds: list[Generators],
    target: float = 0.0,
    *,
    warm_up: bool = True,
) -> TrainingCost:
    """Train the networks of a job and measure what each cost.

    Args:
        job: what to train on, and how.
        real: images to classify; not part of the cost.
        seeds: one family of generators a network.
        target: accuracy to reach.
        warm_up: train two steps first, so that memory, kernels and threads are there when the clock starts.
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
    metric = headline_metric(real)
    score = Score(metric, tuple(row[metric] for row in rows))
    num_steps, batch_size = job.num_steps, job.batch_size
    # Steps that a set brings along take what they name; batches of a recipe end with each epoch.
    seen = (
        num_steps * batch_size
        if job.schedule is not None
        else _images_seen(num_steps, batch_size, len(job.images))
    )
    return TrainingCost(
        num_steps=num_steps,
        batch_size=batch_size,
        accuracy=score.mean,
        std=score.std,
        n=score.n,
        flops=float(job.work.training_flops * seen),
        seconds=seconds / len(seeds),
        reached=score.mean >= target,
    )


def cheapest_training(
    synthetic: SyntheticSet,
    real: ImageDataset,
    target: float,
    model: ModelConfig,
    config: EvaluationConfig,
    augmentation: AugmentationConfig,
    compute: Compute,
    generators: Generators,
    *,
    num_seeds: int = 3,
    max_steps: int = 2000,
    on_try: Callable[[TrainingCost], None] | None = None,
) -> TrainingCost:
    """The shortest training that reaches an accuracy, on a grid of lengths 4, 6, 9, 13, ... steps.

    Each length is a training of its own, with the recipe's whole schedule, from the same seeds; no network
    is stopped early. The lengths are chosen by the accuracy on ``real``, which must not be test images.

    Args:
        synthetic: what to train on; a whole real dataset is one too.
        real: validation images to classify.
        target: accuracy the mean over seeds has to reach.
        model: the architecture.
        config: the recipe, whose length is set aside.
        augmentation: the dataset's.
        compute: device and precision.
        generators: evaluation seeds.
        num_seeds: networks a length.
        max_steps: longest training tried.
        on_try: told of every length.

    Returns:
        The first that reaches ``target``; otherwise the longest one, with ``reached`` false.

    Raises:
        ConfigError: ``target`` is no fraction, or ``max_steps`` is below 1.
    """
    if not 0 <= target <= 1:
        raise ConfigError(f"target = {target:g}: must be an accuracy between 0 and 1")
    if max_steps < 1:
        raise ConfigError(f"max_steps = {max_steps}: must be at least 1")
    steps = float(min(FIRST_STEPS, max_steps))
    while True:
        recipe = config.model_copy(update={"num_steps": int(steps)}).resolve()
        job = build_job(synthetic, model, recipe, augmentation, compute)
        cost = training_cost(job, real, evaluation_seeds(generators, num_seeds), target,
                             warm_up=steps <= FIRST_STEPS)  # fmt: skip
        if on_try is not None:
            on_try(cost)
        if cost.reached or int(steps) >= max_steps:
            return cost
        steps = min(steps * STEPS_FACTOR, max_steps)


def stored_bytes(images: Tensor, *others: Tensor | None, pixel_bytes: int = 4) -> int:
    """Bytes of images at ``pixel_bytes`` a value, and of further tensors as they are."""
    rest = sum(other.numel() * other.element_size() for other in others if other is not None)
    return images.numel() * pixel_bytes + rest


def _images_seen(num_steps: int, batch_size: int, num_images: int) -> int:
    """Images of all updates together; the last batch of an epoch may be short."""
    steps_per_epoch = -(-num_images // batch_size)
    epochs, rest = divmod(num_steps, steps_per_epoch)
    return epochs * num_images + min(rest * batch_size, num_images)


def _now(compute: Compute) -> float:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter()
