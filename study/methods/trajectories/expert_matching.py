"""The loop that MTT, DATM and PAD share: a student trained on synthetic images has to end where an expert did."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from study.core.records import Progress
from study.core.seeding import Generators
from study.methods.base import Method, Task, TaskSize
from study.methods.experts.config import EpochOrder, ExpertConfig, WholeSet
from study.methods.experts.experts import Experts, estimate_experts, obtain_experts
from study.methods.experts.file import Kept
from study.methods.hooks import Estimate, Preparation
from study.methods.trajectories.adjoint import StudentGradients, student_end, student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.config import TrajectoryConfig
from study.methods.trajectories.learned_set import LearnedSet, Start
from study.methods.trajectories.losses import Drop, trajectory_matching_loss
from study.methods.trajectories.step_memory import fitting_chunk
from study.methods.trajectories.step_size import NUM_STUDENTS, STEP_SIZES, nearest_step_size
from study.methods.trajectories.student import StudentStep, plan_steps
from study.methods.trajectories.untrained import UntrainedExperts
from study.models.flat_params import num_parameters
from study.models.work import Loads, nominal_seconds

MAX_SHARE_HELD = 0.5
"""Share of updates that a threshold may forbid before it is worth a warning."""

PROBATION = 10
"""Iterations of which at least one has to make its update; else a run says at once that it stands still."""

_log = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=TrajectoryConfig)


@dataclass(frozen=True)
class Matching:
    """What differs between the methods of the family.

    Attributes:
        start_range: first start epoch and the one after the last, at an iteration counted from 0.
        threshold: no update where the loss is above it; None updates always.
        backoff: what the step size is multiplied by in place of such an update, where the student ended farther
            from the expert than it began.
        discard_fraction: share of the parameters that the loss leaves out; ``drop`` says which.
    """

    start_range: Callable[[int], tuple[int, int]]
    threshold: float | None = None
    backoff: float = 1.0
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
    uses_final: ClassVar[bool] = True
    """Whether finished experts are asked, as for soft labels; else none is trained beyond what students may reach."""

    @property
    def last_epoch(self) -> int:
        """The last epoch that a student may have to reach, in this trial or another one of the search."""
        last = self._most("max_start_epoch") - 1 + self._most("num_expert_epochs")
        return min(last, self.config.experts.num_epochs)

    def _most(self, name: str) -> int:
        parameter = self.searched.get(f"distill.{name}")
        own: int = getattr(self.config, name)
        return max(own, *map(int, parameter.extremes)) if parameter else own

    @property
    def expert_config(self) -> ExpertConfig:
        """How the experts are trained."""
        config = self.config.experts
        return config if self.uses_final else config.model_copy(update={"num_epochs": self.last_epoch})

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

        A step size that is not given is searched before the first yield, by up to 24 runs of a student.
        Losses: ``match/loss``; ``match/step_size``, the learned one; ``match/updated``, 0 where the threshold
        forbade the update. Memory: one student step, in chunks where it would exceed ``memory_gb``, and N + 3
        parameter vectors. Time an iteration: about 12 forward passes of every image that N student steps see.
        """
        yield from self._match(task, self.experts(task, generators), generators, self.config.step_size)

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """What :meth:`distill` does, with untrained networks for experts and any step size."""
        yield from self._match(task, UntrainedExperts(task), generators, STEP_SIZES[0])

    def experts(self, task: Task, generators: Generators) -> Experts:
        """The experts to match, from the cache; those that are missing are trained."""
        order = self.order(task, generators)
        return obtain_experts(task, self.expert_config, order, generators, last=self.last_epoch)

    def prepare(self, task: Task, generators: Generators) -> Preparation:
        """Train the experts that the cache lacks."""
        return self.experts(task, generators).preparation()

    def order_key(self, task: Task, generators: Generators) -> Mapping[str, Any]:
        """What determines :meth:`order`, without making it."""
        return WholeSet().key()

    def estimate(self, task: Task, generators: Generators) -> Estimate:
        """Count the experts that are missing."""
        loads = self.preparation_loads(task.size)
        key = self.order_key(task, generators)
        return estimate_experts(
            task, self.expert_config, key, generators, nominal_seconds(loads), self.last_epoch
        )

    def iteration_loads(self, size: TaskSize) -> Loads:
        """A student's steps and the way back."""
        config = self.config
        batch = min(config.batch_synthetic or size.num_synthetic, size.num_synthetic)
        return {"student": size.work.student(batch, config.num_student_steps)}

    def preparation_loads(self, size: TaskSize) -> Loads:
        """Experts, and students for each step size that is tried."""
        config = self.config
        tried = 0 if config.step_size is not None else NUM_STUDENTS * len(STEP_SIZES)
        batch = min(config.batch_synthetic or size.num_synthetic, size.num_synthetic)
        return {
            "experts": self.expert_config.load(size.work, size.num_images),
            "evaluation": size.work.training(batch, tried * config.num_student_steps),
        }

    def prepared_bytes(self, task: Task) -> int:
        """Of the snapshots that are kept of all experts."""
        config = self.expert_config
        kept = Kept(num_parameters(task.network()), config.num_epochs, self.last_epoch)
        return config.num_experts * kept.num_bytes

    def _match(
        self, task: Task, experts: Trajectories, generators: Generators, step_size: float | None
    ) -> Iterator[Progress]:
        config, matching = self.config, self.matching()
        start = self.start(task, experts, generators["init"])
        students = _Students(config, matching, task, experts, len(start.labels))
        if step_size is None:
            step_size = students.nearest_step_size(start, generators["step size"])
        synthetic = LearnedSet(config, start, step_size * config.step_size_factor, task.train.class_names)
        synthetic.bound(config.pixel_range, task.train)
        yield synthetic.progress(0)
        num_held = 0
        for iteration in range(1, config.num_iterations + 1):
            found = students.gradients(synthetic, iteration, generators)
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
                if found.loss > 1:
                    synthetic.shrink_step_size(matching.backoff)
                yield synthetic.progress(iteration, losses)
            if _stands_still(num_held, iteration, config.num_iterations):
                _log.warning(
                    "%d of %d updates were left out, since the loss was above distill.threshold = %g; "
                    "a smaller distill.step_size_factor keeps the student from overshooting the expert, "
                    "and distill.threshold = none makes every update",
                    num_held, iteration, matching.threshold,
                )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Student:
    """Where a student sets out, its steps, and how far from the expert a parameter vector is."""

    start: Tensor
    steps: tuple[StudentStep, ...]
    distance: Callable[[Tensor], Tensor]


class _Students:
    """Draws students that set out from experts, and trains them on synthetic images."""

    def __init__(
        self, config: TrajectoryConfig, matching: Matching, task: Task, experts: Trajectories, num_images: int
    ) -> None:
        self._config, self._matching, self._task, self._experts = config, matching, task, experts
        self._num_images = num_images
        self._network, self._shape = task.network(), task.train.image_shape
        batch = min(config.batch_synthetic or num_images, num_images)
        self._chunk = None
        if config.backward != "unroll":
            self._chunk = fitting_chunk(self._network, self._shape, batch, int(config.memory_gb * 2**30))
        self._program = CompiledStep(self._network)
        num_steps = config.num_iterations * config.num_student_steps
        self._program.compile_for(task.compute, num_steps, self._chunk or batch)

    def nearest_step_size(self, start: Start, generator: torch.Generator) -> float:
        """The one that suits the starting images, over start epochs of the first to the last iteration."""
        last = max(1, self._config.num_iterations)
        targets = start.labels if start.logits is None else start.logits
        students = [
            self._draw(1 + (last - 1) * turn // (NUM_STUDENTS - 1), generator, generator)
            for turn in range(NUM_STUDENTS)
        ]

        def losses(size: float) -> list[Tensor]:
            step_size = torch.tensor(size, device=start.images.device)
            return [
                one.distance(
                    student_end(
                        self._program, start.images, targets, step_size, one.start, one.steps, self._chunk
                    )
                )
                for one in students
            ]

        return nearest_step_size(losses)

    def gradients(self, synthetic: LearnedSet, iteration: int, generators: Generators) -> StudentGradients:
        """Loss and gradients of one new student."""
        student = self._draw(iteration, generators["starts"], generators["student"])
        return student_gradients(
            self._network, synthetic.pixels, synthetic.targets, synthetic.step_size,
            student.start, student.steps, student.distance,
            backward=self._config.backward, chunk_size=self._chunk, program=self._program,
        )  # fmt: skip

    def _draw(self, iteration: int, starts: torch.Generator, steps: torch.Generator) -> _Student:
        config, matching = self._config, self._matching
        expert, epoch = _pick(self._experts, matching.start_range(iteration - 1), starts)
        start = self._experts.snapshot(expert, epoch)
        distance = partial(
            trajectory_matching_loss,
            target=self._experts.snapshot(expert, epoch + config.num_expert_epochs), start=start,
            discard_fraction=matching.discard_fraction, drop=matching.drop,
        )  # fmt: skip
        planned = plan_steps(
            self._num_images, config.num_student_steps, config.batch_synthetic,
            self._task.augmentation, self._shape, steps,
        )  # fmt: skip
        return _Student(start, planned, distance)


def _stands_still(num_held: int, iteration: int, num_iterations: int) -> bool:
    """Whether to say now that updates are left out: once early, where none was made, else at the end."""
    if iteration == PROBATION < num_iterations:
        return num_held == iteration
    return iteration == num_iterations and num_held > MAX_SHARE_HELD * iteration


def _pick(experts: Trajectories, epochs: tuple[int, int], generator: torch.Generator) -> tuple[int, int]:
    expert, epoch = (
        int(torch.randint(low, high, (1,), generator=generator, device=generator.device))
        for low, high in ((0, experts.num_experts), epochs)
    )
    return expert, epoch
