"""MTT: synthetic images that lead a student along the trajectories of experts trained on real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress
from study.core.seeding import Generators
from study.methods.base import MethodConfig, Task, register
from study.methods.experts import EpochOrder
from study.methods.initialize import initialize
from study.methods.learned_set import LearnedSet
from study.methods.schedule import WholeSet
from study.methods.trajectory_matching import (
    ExpertMatching,
    Matching,
    Trajectories,
    TrajectoryConfig,
    match_trajectories,
)

__all__ = ["MTT"]


@register
class MTT(ExpertMatching):
    """Dataset distillation by matching training trajectories.

    A student starts from an expert's snapshot, takes N steps on the synthetic images, and is compared with
    the expert M epochs later. Images and the student's step size are learned; labels are hard.

    Source: Cazenavette et al. 2022. The gradient is exact in the memory of one step, see
    :mod:`study.methods.trajectory`.
    """

    name: ClassVar[str] = "mtt"
    Config: ClassVar[type[MethodConfig]] = TrajectoryConfig

    def __init__(self, config: TrajectoryConfig) -> None:
        self.config = config

    def order(self, task: Task, generators: Generators) -> EpochOrder:
        """Every epoch sees every image."""
        return WholeSet(len(task.train))

    def match(self, task: Task, experts: Trajectories, generators: Generators) -> Iterator[Progress]:
        """Distil with these experts."""
        config = self.config
        images, labels = initialize(config.init, task.train, task.ipc, generators["init"])
        synthetic = LearnedSet(
            images,
            labels,
            task.train.class_names,
            config.step_size,
            image_lr=config.image_lr,
            momentum=config.momentum,
            step_size_lr=config.step_size_lr,
        )
        matching = Matching(start_range=lambda iteration: (0, config.max_start_epoch))
        yield from match_trajectories(config, task, experts, synthetic, matching, generators)
