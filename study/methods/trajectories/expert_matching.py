"""The loop that MTT, DATM and PAD share: a student trained on synthetic images has to end where an expert did."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from study.core.device import num_cores
from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Range, Space
from study.methods.base import Method, MethodConfig, Task
from study.methods.experts.experts import (
    EpochOrder,
    ExpertConfig,
    ExpertPlan,
    Experts,
    OnEpoch,
    obtain_experts,
    plan_experts,
)
from study.methods.trajectories.adjoint import Backward, student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.learned_set import LearnedSet
from study.methods.trajectories.losses import Drop, trajectory_matching_loss
from study.methods.trajectories.step_memory import fitting_chunk
from study.methods.trajectories.student import plan_steps
from study.models.flat_params import flatten_parameters
from study.models.pool import build_model

__all__ = [
    "IMAGE_LR_RANGE",
    "STUDENT_SPACE",
    "ExpertMatching",
    "Matching",
    "Start",
    "Trajectories",
    "TrajectoryConfig",
    "match_trajectories",
]

MAX_SHARE_HELD = 0.5
"""Share of updates that a threshold may forbid before it is worth a warning."""

IMAGE_LR_RANGE = Range(low=1.0, high=1000.0, log=True)
STUDENT_SPACE: Space = {
    "distill.step_size": Range(low=0.005, high=0.1, log=True),
    "distill.step_size_lr": Range(low=1e-6, high=1e-3, log=True),
    "distill.num_student_steps": Range(kind="int", low=10, high=40, step=10),
    "distill.num_expert_epochs": Range(kind="int", low=1, high=3),
    "distill.max_start_epoch": Range(kind="int", low=2, high=14, step=4),
}
"""What the methods of this family search of the student and its experts."""

_log = logging.getLogger(__name__)


class TrajectoryConfig(MethodConfig):
    """Settings of trajectory matching; MTT's published values are the defaults."""

    num_iterations: int = Field(5000, ge=0)
    """Updates of the synthetic images."""
    image_lr: float = Field(1000.0, gt=0)
    """Learning rate of the pixels."""
    momentum: float = Field(0.5, ge=0, lt=1)
    """Of the SGD of pixels and step size."""
    step_size: float = Field(0.01, gt=0)
    """Learning rate of the student at the start (Greek beta); it is learned with the images."""
    step_size_lr: float = Field(1e-5, ge=0)
    """Learning rate of the student's learning rate; 0 keeps it."""
    num_student_steps: int = Field(20, ge=0)
    """Updates of the student on synthetic images (N)."""
    batch_synthetic: int | None = Field(None, ge=1)
    """Synthetic images of one student step; by default all of them."""
    num_expert_epochs: int = Field(3, ge=1)
    """Epochs of the expert that the student is to catch up with (M)."""
    max_start_epoch: int = Field(25, ge=1)
    """Snapshots 0 to this minus one may be the start (T+)."""
    experts: ExpertConfig = Field(default_factory=ExpertConfig)
    """How the experts are trained."""
    backward: Backward = "adjoint"
    """``adjoint`` is exact in the memory of one step; ``unroll`` and ``tesla`` are for comparison."""
    memory_gb: float = Field(4.0, gt=0)
    """What one student step may take; above it, steps are worked on in chunks of images, still exactly."""

    @model_validator(mode="after")
    def _experts_are_long_enough(self) -> TrajectoryConfig:
        last = self.max_start_epoch - 1 + self.num_expert_epochs
        if last > self.experts.num_epochs:
            raise ValueError(
                f"max_start_epoch = {self.max_start_epoch} and num_expert_epochs = {self.num_expert_epochs} reach to "
                f"epoch {last}, but experts.num_epochs = {self.experts.num_epochs}"
            )
        return self


ConfigT = TypeVar("ConfigT", bound=TrajectoryConfig)


@dataclass(frozen=True)
class Matching:
    """What differs between the methods of the family.

    Attributes:
        start_range: first start epoch and the one after the last, at an iteration counted from 0.
        threshold: no update where the loss is above it; None updates always.
        discard_fraction: share of the parameters that the loss leaves out.
        drop: which ones.
    """

    start_range: Callable[[int], tuple[int, int]]
    threshold: float | None = None
    discard_fraction: float = 0.0
    drop: Drop = "shallow"


class Trajectories(Protocol):
    """What the loop asks of experts."""

    num_experts: int

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        """Parameters [D] of an expert after that many epochs."""

    def final(self, expert: int) -> Tensor:
        """Parameters [D] of an expert after its last epoch."""


@dataclass(frozen=True, eq=False)
class Start:
    """What is learned, where it begins, and how fast its labels move.

    Attributes:
        images: [n, C, H, W], becomes the synthetic images.
        labels: [n] int64, grouped by class.
        logits: [n, classes] soft labels, or None for hard ones.
        label_lr: of the soft labels.
        label_momentum: of the soft labels.
    """

    images: Tensor
    labels: Tensor
    logits: Tensor | None = None
    label_lr: float = 0.0
    label_momentum: float = 0.9


class ExpertMatching(Method[ConfigT]):
    """Base of methods that match expert trajectories; they differ in experts, start and matching."""

    @abstractmethod
    def order(self, task: Task, generators: Generators) -> EpochOrder:
        """Which images each epoch of an expert sees."""

    @abstractmethod
    def start(self, task: Task, experts: Trajectories, generator: torch.Generator) -> Start:
        """Where the synthetic set begins."""

    @abstractmethod
    def matching(self) -> Matching:
        """Start epochs, threshold and discarded parameters."""

    def match(self, task: Task, experts: Trajectories, generators: Generators) -> Iterator[Progress]:
        """Distil with these experts."""
        config, start = self.config, self.start(task, experts, generators["init"])
        synthetic = LearnedSet(
            start.images,
            start.labels,
            task.train.class_names,
            config.step_size,
            image_lr=config.image_lr,
            momentum=config.momentum,
            step_size_lr=config.step_size_lr,
            logits=start.logits,
            label_lr=start.label_lr,
            label_momentum=start.label_momentum,
        )
        yield from match_trajectories(config, task, experts, synthetic, self.matching(), generators)

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration; experts that are missing are trained first."""
        yield from self.match(task, self.prepare(task, generators), generators)

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """What :meth:`distill` does, with untrained networks for experts: for timing, not for a set."""
        yield from self.match(task, _UntrainedExperts(task), generators)

    def expert_plan(self, task: Task, generators: Generators) -> ExpertPlan:
        """What :meth:`prepare` would build."""
        return plan_experts(task, self.config.experts, self.order(task, generators), generators)

    def prepare(self, task: Task, generators: Generators, on_epoch: OnEpoch | None = None) -> Experts:
        """Build what :meth:`distill` with the same arguments will look up, and give it."""
        order = self.order(task, generators)
        # An expert keeps one thread busy, whatever the student may use.
        num_workers = num_cores() if task.compute.device.type == "cpu" else None
        return obtain_experts(task, self.config.experts, order, generators, on_epoch, num_workers=num_workers)


def match_trajectories(
    config: TrajectoryConfig,
    task: Task,
    experts: Trajectories,
    synthetic: LearnedSet,
    matching: Matching,
    generators: Generators,
) -> Iterator[Progress]:
    """Yield the starting point, then one progress an iteration.

    Losses: ``match/loss``; ``match/step_size``, the learned one; ``match/updated``, 0 where the threshold
    forbade the update.

    Memory: one student step, in chunks where it would exceed ``memory_gb``, and N + 3 parameter vectors.
    Time an iteration: about 12 forward passes of every image that the N student steps see.
    """
    yield synthetic.progress(0)
    placeholder = torch.Generator().manual_seed(0)
    shape = task.train.image_shape
    network = build_model(task.model, shape, task.train.num_classes, placeholder, task.compute.device)
    batch = min(config.batch_synthetic or len(synthetic.labels), len(synthetic.labels))
    chunk = None
    if config.backward != "unroll":
        chunk = fitting_chunk(network, shape, batch, int(config.memory_gb * 2**30))
    program = CompiledStep(network)
    program.compile_for(task.compute, config.num_iterations * config.num_student_steps, chunk or batch)
    num_held = 0
    for iteration in range(1, config.num_iterations + 1):
        start, target = _segment(config, experts, matching.start_range(iteration - 1), generators["starts"])
        steps = plan_steps(
            len(synthetic.labels),
            config.num_student_steps,
            config.batch_synthetic,
            task.augmentation,
            shape,
            generators["student"],
        )

        def distance(end: Tensor, start: Tensor = start, target: Tensor = target) -> Tensor:
            return trajectory_matching_loss(
                end, target, start, discard_fraction=matching.discard_fraction, drop=matching.drop
            )

        found = student_gradients(
            network,
            synthetic.pixels,
            synthetic.targets,
            synthetic.step_size,
            start,
            steps,
            distance,
            backward=config.backward,
            chunk_size=chunk,
            program=program,
        )
        updates = matching.threshold is None or bool(found.loss <= matching.threshold)
        losses = {
            "match/loss": found.loss,
            "match/step_size": synthetic.step_size.clone(),
            "match/updated": torch.tensor(float(updates)),
        }
        if updates or not bool(found.loss.isfinite()):
            yield synthetic.descend(found, losses, iteration)
        else:
            num_held += 1
            yield synthetic.progress(iteration, losses)
    if num_held > MAX_SHARE_HELD * config.num_iterations:
        _log.warning(
            "%d of %d updates were left out, since the loss was above distill.threshold = %g; "
            "a smaller distill.step_size keeps the student from overshooting the expert",
            num_held, config.num_iterations, matching.threshold,
        )  # fmt: skip


def _segment(
    config: TrajectoryConfig, experts: Trajectories, start_range: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Where a random expert stood at a random epoch of the range, and M epochs later."""

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator, device=generator.device))

    expert, epoch = pick(0, experts.num_experts), pick(*start_range)
    return experts.snapshot(expert, epoch), experts.snapshot(expert, epoch + config.num_expert_epochs)


class _UntrainedExperts:
    """One network for every epoch but for a little noise; costs what trained experts cost."""

    num_experts = 1

    def __init__(self, task: Task) -> None:
        generator = torch.Generator().manual_seed(0)
        shape, num_classes = task.train.image_shape, task.train.num_classes
        network = build_model(task.model, shape, num_classes, generator, task.compute.device)
        self._flat = flatten_parameters(network)
        noise = torch.randn(len(self._flat), generator=generator).to(self._flat.device)
        self._noise = 0.01 * noise

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        return self._flat + epoch * self._noise

    def final(self, expert: int) -> Tensor:
        return self.snapshot(expert, 1)
