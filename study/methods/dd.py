"""DD: images, and the size of every step on them, learned so that a few steps of a fresh network classify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from study.core.errors import ConfigError, DivergedError
from study.core.records import Progress, StepSchedule, SyntheticSet
from study.core.seeding import Generators, derive_seed
from study.core.spaces import Range, Space
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.initialize import Initialization, initialize
from study.methods.learned import LearnedImages
from study.methods.trajectories.adjoint import Backward, StudentGradients, student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.step_memory import fitting_chunk
from study.methods.trajectories.student import ordered_steps
from study.models.flat_params import flatten_parameters, forward_flat
from study.models.network import Network, mixes_images
from study.models.work import Loads


class DDConfig(MethodConfig):
    """Settings of DD; the published values are the defaults."""

    num_iterations: int = Field(23_600, ge=0)
    """Updates of the synthetic images; 400 epochs of MNIST in batches of 1024."""
    init: Initialization = "noise"
    image_lr: float = Field(0.01, gt=0)
    """Learning rate of the pixels' Adam."""
    step_size_lr: float = Field(0.01, ge=0)
    """Learning rate of the Adam of the numbers whose softplus the step sizes are; 0 keeps the step sizes."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Decay rates of Adam's running means, both."""
    lr_decay: float = Field(0.5, gt=0, le=1)
    """Factor on both learning rates after every ``lr_decay_fraction``."""
    lr_decay_fraction: float = Field(0.1, gt=0, le=1)
    """Share of the iterations between two such drops."""
    step_size: float = Field(0.02, gt=0)
    """Learning rate of every student step at the start (Greek eta)."""
    num_distill_epochs: int = Field(3, ge=1)
    """Passes of a student over the mini-sets of one image a class; IPC times this is the number of its steps."""
    batch_real: int = Field(1024, ge=1)
    """Real images that the trained students classify in each iteration."""
    network_init: Literal["random", "fixed"] = "random"
    """``random`` draws fresh networks in every iteration; ``fixed`` learns for one network alone."""
    num_networks: int = Field(4, ge=1)
    """Fresh networks whose gradients an iteration averages; ``fixed`` has only one."""
    backward: Backward = "adjoint"
    """``adjoint`` is exact in the memory of one step; ``unroll`` and ``tesla`` are for comparison."""
    memory_gb: float = Field(4.0, gt=0)
    """What a student step or a real batch may take; above it, it is worked on in chunks, still exactly."""


@register
class DD(Method[DDConfig]):
    """Dataset distillation.

    A network takes N plain gradient steps on mini-sets of one image a class, in fixed order and each with its
    own learning rate, and then classifies real images. Their cross-entropy is differentiated through all
    steps in images and learning rates. The result is both with the order; evaluation replays them.

    Source: Wang et al. 2018, "Dataset Distillation". Networks are drawn as everywhere here, not by Xavier's
    normal rule, so that a student is drawn like any network the set meets later. The paper averages over
    several networks without a number that we know of; the real batch is drawn anew in every iteration.
    """

    name: ClassVar[str] = "dd"
    Config: ClassVar[type[MethodConfig]] = DDConfig
    space: ClassVar[Space] = {
        "distill.step_size": Range(low=1e-3, high=0.1, log=True),
        "distill.image_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.step_size_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.num_distill_epochs": Range(kind="int", low=1, high=5),
    }
    smoke: ClassVar[dict[str, int]] = {"num_iterations": 4, "num_networks": 1, "batch_real": 32}

    def iteration_loads(self, size: TaskSize) -> Loads:
        """The steps of each network, one image a class each, and the real batch it classifies."""
        config, work = self.config, size.work
        num_networks = 1 if config.network_init == "fixed" else config.num_networks
        num_steps = size.ipc * config.num_distill_epochs * num_networks
        real = min(config.batch_real, size.num_images)
        return {
            "student": work.student(len(size.class_counts), num_steps),
            "evaluation": work.training(real, num_networks),
        }

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration.

        Losses: ``match/loss``, the cross-entropy of real images; ``match/step_size``, the mean learning rate.
        Memory: one student step, the real batch, and N + 3 parameter vectors. Time an iteration: for each
        network about 12 forward passes of every image of its steps, and three of the real batch.

        Raises ConfigError for batch norm, whose running statistics no schedule holds.
        """
        config, train = self.config, task.train
        images, labels = initialize(config.init, train, task.ipc, generators["init"])
        order = mini_sets(train.num_classes, task.ipc, config.num_distill_epochs)
        fixed = derive_seed(generators.seed, "network") if config.network_init == "fixed" else None
        learned = LearnedStepSchedule(config, images, labels, train.class_names, order, fixed)
        learned.bound(config.pixel_range, train)
        yield learned.progress(0)
        students = _Students(config, task, order, generators)
        period = max(1, round(config.num_iterations * config.lr_decay_fraction))
        for iteration in range(1, config.num_iterations + 1):
            found = students.train(learned, fixed)
            learned.scale_rates(config.lr_decay ** ((iteration - 1) // period))
            yield learned.descend(found, iteration)


def mini_sets(num_classes: int, ipc: int, num_epochs: int) -> Tensor:
    """Positions [ipc · num_epochs, classes] int64 in a set grouped by class: one image a class a step."""
    return torch.arange(num_classes * ipc).view(num_classes, ipc).T.repeat(num_epochs, 1).contiguous()


class LearnedStepSchedule(LearnedImages):
    """Images with hard labels and a step size for every step, moved by Adam.

    Step sizes are the softplus of the numbers ``free`` [N] float32, and so positive wherever those go.
    """

    def __init__(
        self,
        config: DDConfig,
        images: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        order: Tensor,
        network_seed: int | None,
    ) -> None:
        """Take images [n, C, H, W] and labels [n] int64 over; no copy is made.

        ``order`` [N, b] int64 are the images of each step, ``network_seed`` that of the one network, or None.
        """
        self.pixels, self.labels = images, labels
        # The inverse of softplus, in double precision: log(exp(x) - 1).
        start = torch.full((len(order),), config.step_size, dtype=torch.float64).expm1().log()
        self.free = start.float().to(images.device)
        self._class_names, self._order, self._network_seed = class_names, order, network_seed
        self._rates = (config.image_lr, config.step_size_lr)
        learned = zip((self.pixels, self.free), self._rates, strict=True)
        groups = [{"params": [tensor], "lr": rate} for tensor, rate in learned]
        self._optimizer = torch.optim.Adam(groups, betas=config.betas)

    def step_sizes(self) -> Tensor:
        """[N] float32, above 0 even where softplus rounds to it."""
        return functional.softplus(self.free).clamp(min=torch.finfo(torch.float32).tiny)

    def scale_rates(self, factor: float) -> None:
        """Set both learning rates to this share of their first values."""
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def descend(self, runs: Sequence[StudentGradients], iteration: int) -> Progress:
        """Move along the mean gradient of some students, and report; DivergedError as elsewhere."""
        losses = {
            "match/loss": torch.stack([run.loss for run in runs]).mean(),
            "match/step_size": self.step_sizes().mean(),
        }
        self.pixels.grad = torch.stack([run.images for run in runs]).mean(0)
        self.free.grad = torch.stack([run.step_sizes for run in runs]).mean(0) * self.free.sigmoid()
        self._move(losses, iteration)
        if not bool(self.free.isfinite().all()):
            raise DivergedError("a learned step size", iteration)
        return self.progress(iteration, losses)

    def _snapshot(self) -> SyntheticSet:
        order = self._order.to(self.pixels.device, copy=True)
        schedule = StepSchedule(order, self.step_sizes(), self._network_seed)
        return SyntheticSet(self.pixels.clone(), self.labels.clone(), self._class_names, schedule=schedule)


class _Students:
    """Networks that are trained on the set and classify real images."""

    def __init__(self, config: DDConfig, task: Task, order: Tensor, generators: Generators) -> None:
        self._config, self._train, self._generators = config, task.train, generators
        self.network, shape = task.network(), task.train.image_shape
        if mixes_images(self.network):
            raise ConfigError(
                "dd on a network with batch norm: its running statistics are no part of the schedule; "
                "use norm instance, group, layer or none"
            )
        self._steps = ordered_steps(list(order), shape, generators["student"])
        self._num_real = min(config.batch_real, len(task.train))
        max_bytes = int(config.memory_gb * 2**30)
        self._real_chunk = fitting_chunk(self.network, shape, self._num_real, max_bytes)
        self._chunk = None
        if config.backward != "unroll":
            self._chunk = fitting_chunk(self.network, shape, order.shape[1], max_bytes)
        self._num_networks = 1 if config.network_init == "fixed" else config.num_networks
        self._program = CompiledStep(self.network)
        num_steps = config.num_iterations * self._num_networks * len(order)
        self._program.compile_for(task.compute, num_steps, self._chunk or order.shape[1])

    def train(self, learned: LearnedStepSchedule, fixed: int | None) -> list[StudentGradients]:
        """One run a network, with the gradients of its loss on the same real images."""
        real = self._real_batch()
        return [self._run(learned, real, fixed) for _ in range(self._num_networks)]

    def _real_batch(self) -> tuple[Tensor, Tensor]:
        generator = self._generators["batches"]
        order = torch.randperm(len(self._train), generator=generator, device=generator.device)
        chosen = order[: self._num_real].to(self._train.images.device)
        return self._train.images[chosen], self._train.labels[chosen]

    def _run(
        self, learned: LearnedStepSchedule, real: tuple[Tensor, Tensor], fixed: int | None
    ) -> StudentGradients:
        # The fixed network comes from the CPU, so that its seed means the same on every machine.
        generator = self._generators["networks"] if fixed is None else torch.Generator().manual_seed(fixed)
        self.network.reset_parameters(generator)
        return student_gradients(
            self.network,
            learned.pixels,
            learned.labels,
            learned.step_sizes(),
            flatten_parameters(self.network),
            self._steps,
            partial(classification_loss, self.network, *real, chunk_size=self._real_chunk),
            backward=self._config.backward,
            chunk_size=self._chunk,
            program=self._program,
        )


def classification_loss(
    network: Network, images: Tensor, labels: Tensor, flat: Tensor, *, chunk_size: int | None = None
) -> Tensor:
    """Mean cross-entropy in nats of real images [n, C, H, W] with labels [n], in the memory of one chunk.

    Gradient flows to the parameters ``flat`` [D], once and not twice; the network gives the architecture
    only. All images are worked on at once where ``chunk_size`` is None.
    """
    leaf = flat.detach().requires_grad_()
    loss, gradient = leaf.new_zeros(()), torch.zeros_like(leaf)
    size = chunk_size or len(images)
    pieces = zip(torch.split(images, size), torch.split(labels, size), strict=True)
    for some_images, some_labels in pieces:
        with torch.enable_grad():
            logits = forward_flat(network, leaf, some_images)
            part = functional.cross_entropy(logits, some_labels, reduction="sum") / len(images)
        gradient += torch.autograd.grad(part, leaf)[0]
        loss += part.detach()
    # Worth the loss, with its gradient, but without the graphs of the chunks.
    return loss + (flat - flat.detach()) @ gradient
