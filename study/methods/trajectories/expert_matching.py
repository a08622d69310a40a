"""The loop that MTT, DATM and PAD share: a student trained on synthetic images has to end where an expert did."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from study.core.records import Progress
from study.core.seeding import Generators
from study.methods.base import Method, Task
from study.methods.experts.config import EpochOrder, WholeSet
from study.methods.experts.experts import Experts, estimate_experts, obtain_experts
from study.methods.hooks import Estimate, Preparation, Report
from study.methods.trajectories.adjoint import student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.config import TrajectoryConfig
from study.methods.trajectories.learned_set import LearnedSet, Start
from study.methods.trajectories.losses import Drop, trajectory_matching_loss
from study.methods.trajectories.step_memory import fitting_chunk
from study.methods.trajectories.student import plan_steps
from study.models.flat_params import flatten_parameters

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
        discard_fraction: share of the parameters that the loss leaves out; ``drop`` says which.
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
        """Yield the starting point, then one progress an iteration; missing experts are trained first.

        Losses: ``match/loss``; ``match/step_size``, the learned one; ``match/updated``, 0 where the threshold
        forbade the update. Memory: one student step, in chunks where it would exceed ``memory_gb``, and N + 3
        parameter vectors. Time an iteration: about 12 forward passes of every image that N student steps see.
        """
        yield from self._match(task, self.experts(task, generators), generators)

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """What :meth:`distill` does, with untrained networks for experts."""
        yield from self._match(task, _UntrainedExperts(task), generators)

    def experts(self, task: Task, generators: Generators, report: Report | None = None) -> Experts:
        """The experts to match, from the cache; those that are missing are trained."""
        order = self.order(task, generators)
        return obtain_experts(task, self.config.experts, order, generators, report)

    def prepare(self, task: Task, generators: Generators, report: Report | None = None) -> Preparation:
        """Train the experts that the cache lacks."""
        return self.experts(task, generators, report).preparation()

    def estimate(self, task: Task, generators: Generators) -> Estimate:
        """Count the experts that are missing and time a few of their steps."""
        order = self.order(task, generators)
        return estimate_experts(task, self.config.experts, order, generators)

    def _match(self, task: Task, experts: Trajectories, generators: Generators) -> Iterator[Progress]:
        config, matching = self.config, self.matching()
        synthetic = LearnedSet(config, self.start(task, experts, generators["init"]), task.train.class_names)
        yield synthetic.progress(0)
        network, shape = task.network(), task.train.image_shape
        batch = min(config.batch_synthetic or len(synthetic.labels), len(synthetic.labels))
        chunk = None
        if config.backward != "unroll":
            chunk = fitting_chunk(network, shape, batch, int(config.memory_gb * 2**30))
        program = CompiledStep(network)
        program.compile_for(task.compute, config.num_iterations * config.num_student_steps, chunk or batch)
        num_held = 0
        for iteration in range(1, config.num_iterations + 1):
            expert, epoch = _pick(experts, matching.start_range(iteration - 1), generators["starts"])
            start = experts.snapshot(expert, epoch)
            target = experts.snapshot(expert, epoch + config.num_expert_epochs)
            steps = plan_steps(
                len(synthetic.labels), config.num_student_steps, config.batch_synthetic,
                task.augmentation, shape, generators["student"],
            )  # fmt: skip
            distance = partial(
                trajectory_matching_loss, target=target, start=start,
                discard_fraction=matching.discard_fraction, drop=matching.drop,
            )  # fmt: skip
            found = student_gradients(
                network, synthetic.pixels, synthetic.targets, synthetic.step_size, start, steps, distance,
                backward=config.backward, chunk_size=chunk, program=program,
            )  # fmt: skip
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


def _pick(experts: Trajectories, epochs: tuple[int, int], generator: torch.Generator) -> tuple[int, int]:
    expert, epoch = (
        int(torch.randint(low, high, (1,), generator=generator, device=generator.device))
        for low, high in ((0, experts.num_experts), epochs)
    )
    return expert, epoch


class _UntrainedExperts:
    """One network for every epoch but for a little noise; costs what trained experts cost."""

    num_experts = 1

    def __init__(self, task: Task) -> None:
        generator = torch.Generator().manual_seed(0)
        self._flat = flatten_parameters(task.network(generator))
        self._noise = 0.01 * torch.randn(len(self._flat), generator=generator).to(self._flat.device)

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        return self._flat + epoch * self._noise

    def final(self, expert: int) -> Tensor:
        return self.snapshot(expert, 1)
