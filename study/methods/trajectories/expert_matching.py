"""The loop that MTT, DATM and PAD share: a student trained on synthetic images has to end where an expert did."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from study.core.device import num_cores
from study.core.records import Progress
from study.core.seeding import Generators
from study.methods.base import Method, Task
from study.methods.experts.config import EpochOrder, WholeSet
from study.methods.experts.experts import Experts, obtain_experts, plan_experts
from study.methods.hooks import Estimate, Preparation, Report
from study.methods.trajectories.adjoint import student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.config import TrajectoryConfig
from study.methods.trajectories.learned_set import LearnedSet, Start
from study.methods.trajectories.losses import Drop, trajectory_matching_loss
from study.methods.trajectories.step_memory import fitting_chunk
from study.methods.trajectories.student import plan_steps
from study.models.flat_params import flatten_parameters
from study.models.pool import build_model

__all__ = ["ExpertMatching", "Matching", "Trajectories", "match_trajectories"]

MAX_SHARE_HELD = 0.5
"""Share of updates that a threshold may forbid before it is worth a warning."""

_log = logging.getLogger(__name__)


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


class ExpertMatching(Method[ConfigT]):
    """Base of methods that match expert trajectories; they differ in experts, start and matching."""

    preparation_settings: ClassVar[tuple[str, ...]] = ("experts",)

    def order(self, task: Task, generators: Generators) -> EpochOrder:
        """Which images each epoch of an expert sees; by default all."""
        return WholeSet()

    @abstractmethod
    def start(self, task: Task, experts: Trajectories, generator: torch.Generator) -> Start:
        """Where the synthetic set begins."""

    @abstractmethod
    def matching(self) -> Matching:
        """Start epochs, threshold and discarded parameters."""

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration; experts that are missing are trained first."""
        yield from self._match(task, self.experts(task, generators), generators)

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """What :meth:`distill` does, with untrained networks for experts."""
        yield from self._match(task, _UntrainedExperts(task), generators)

    def experts(self, task: Task, generators: Generators, report: Report | None = None) -> Experts:
        """The experts to match, from the cache; those that are missing are trained."""
        return obtain_experts(
            task,
            self.config.experts,
            self.order(task, generators),
            generators,
            report,
            num_workers=_num_workers(task),
        )

    def prepare(self, task: Task, generators: Generators, report: Report | None = None) -> Preparation:
        """Train the experts that the cache lacks."""
        experts = self.experts(task, generators, report)
        facts = experts.describe()
        return Preparation(
            metrics={
                "cost/experts_built": float(experts.num_built),
                "cost/experts_seconds": experts.build_seconds,
                "experts/train_accuracy": facts["train_accuracy"],
            },
            tags={"study.experts": experts.key},
            facts=facts,
        )

    def estimate(self, task: Task, generators: Generators) -> Estimate:
        """Count the experts that are missing and time a few of their steps."""
        plan = plan_experts(task, self.config.experts, self.order(task, generators), generators)
        num_workers = max(1, min(_num_workers(task), plan.num_to_build))
        return Estimate(
            f"{plan.num_experts} experts of {plan.num_epochs} epochs, {plan.num_to_build} of them to train",
            plan.build_seconds / num_workers,
            plan.num_bytes,
            {
                "key": plan.key,
                "experts": plan.num_experts,
                "to_build": plan.num_to_build,
                "epochs": plan.num_epochs,
                "seconds_per_epoch": plan.seconds_per_epoch,
            },
        )

    def _match(self, task: Task, experts: Trajectories, generators: Generators) -> Iterator[Progress]:
        start = self.start(task, experts, generators["init"])
        synthetic = LearnedSet(self.config, start, task.train.class_names)
        yield from match_trajectories(self.config, task, experts, synthetic, self.matching(), generators)


def _num_workers(task: Task) -> int:
    # An expert keeps one thread busy, whatever the student may use.
    return num_cores() if task.compute.device.type == "cpu" else 1


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
