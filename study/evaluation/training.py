"""The training step an evaluation waits for: stacked seeds, reduced precision, compiled where it pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from study.core.chunks import Use, fitting
from study.core.device import Compute
from study.core.records import StepSchedule
from study.core.reporting import advance
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.batches import scheduled_batches, training_batches
from study.evaluation.recipes import TrainingRecipe, learning_rates
from study.evaluation.training_step import TrainingStep, prepare_step
from study.models.network import Network
from study.models.pool import ModelConfig
from study.models.work import Load, Work, expected_seconds, work_of_model, worth_compiling


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on what, how; shared by all seeds of an evaluation.

    Attributes:
        images: [n, C, H, W] float32 on the compute device; read only.
        targets: [n] int64, or [n, classes] float32 probabilities, on the compute device.
        num_classes: length of one row of logits.
        model: the architecture.
        recipe: optimiser and length.
        lr: learning rate at the start.
        augmentation: of training batches; strategy ``none`` for none.
        compute: device, precision and compilation.
        schedule: steps to replay in place of recipe, learning rate and augmentation, or None.
    """

    images: Tensor
    targets: Tensor
    num_classes: int
    model: ModelConfig
    recipe: TrainingRecipe
    lr: float
    augmentation: AugmentationConfig
    compute: Compute
    schedule: StepSchedule | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def work(self) -> Work:
        """What one image costs one of the networks."""
        return work_of_model(self.model, self.image_shape, self.num_classes)

    @property
    def num_steps(self) -> int:
        """Updates of each network."""
        return self.recipe.steps(len(self.images)) if self.schedule is None else len(self.schedule)

    @property
    def batch_size(self) -> int:
        """Images of an update."""
        if self.schedule is not None:
            return self.schedule.batch_size
        return min(self.recipe.batch_size, len(self.images))

    @property
    def load(self) -> Load:
        """Counted work of one network."""
        return self.work.training(self.batch_size, self.num_steps)


def train_networks(
    job: TrainingJob, seeds: Sequence[Generators], expected_networks: int | None = None
) -> Iterator[Network]:
    """Train one fresh network a seed and yield each, in evaluation mode, in the order of the seeds.

    Of each network's generators ``init``, ``batches`` and ``augmentation`` are used. The compiler's time is weighed
    by how many networks of this kind the caller will train in all, by default these.

    Yields:
        A network that is valid until the next one is asked for; the memory is used again.
    """
    stack_size = _stack_size(job, len(seeds))
    compiled = should_compile(job, max(len(seeds), expected_networks or 0))
    for start in range(0, len(seeds), stack_size):
        some = seeds[start : start + stack_size]
        step = prepare_step(
            job.model, job.image_shape, job.num_classes, num_networks=len(some), batch_size=job.batch_size,
            compute=job.compute, compiled=compiled,
        )  # fmt: skip
        step.stack.reset([_init_generator(job, seed) for seed in some])
        _train(job, step, some)
        for index in range(len(some)):
            yield step.stack.member(index)


def _train(job: TrainingJob, step: TrainingStep, seeds: Sequence[Generators]) -> None:
    recipe, device, schedule = job.recipe, job.compute.device, job.schedule
    optimizer = torch.optim.SGD(
        step.stack.parameters,
        lr=job.lr,
        momentum=recipe.momentum if schedule is None else 0.0,
        weight_decay=recipe.weight_decay if schedule is None else 0.0,
        fused=device.type in {"cpu", "cuda"},
    )
    images, targets = job.images, job.targets
    if schedule is None:
        rates = learning_rates(recipe, len(images), job.lr)
        batches = training_batches(images, targets, len(rates), recipe.batch_size, job.augmentation, seeds)
    else:
        rates = schedule.step_sizes.tolist()
        batches = scheduled_batches(images, targets, schedule, len(seeds))
    for rate, (some, wanted) in zip(rates, batches, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        step.backward(some, wanted)
        optimizer.step()
        advance(len(seeds) / len(rates))


def _init_generator(job: TrainingJob, seed: Generators) -> torch.Generator:
    """What draws a network: the seed's own generator, or that of the one network a schedule belongs to."""
    if job.schedule is None or job.schedule.network_seed is None:
        return seed["init"]
    return torch.Generator().manual_seed(job.schedule.network_seed)


def _stack_size(job: TrainingJob, num_seeds: int) -> int:
    """Networks to train as one: as many as keep a step small; beyond that stacking only costs cache."""
    use: Use = "stacked bfloat16" if job.compute.dtype is torch.bfloat16 else "stacked float32"
    most = fitting(use, job.work.forward_flops * job.batch_size, job.compute.device)
    return 1 if job.work.mixes_images else min(num_seeds, most)


def should_compile(job: TrainingJob, num_networks: int) -> bool:
    """Whether that many networks are trained with compiled steps; those differ from plain ones in their last bits."""
    return worth_compiling("evaluation", job.compute, job.load * num_networks)


def training_seconds(job: TrainingJob) -> float:
    """Rough time to train one network uncompiled."""
    return expected_seconds("evaluation", job.compute, job.load)
