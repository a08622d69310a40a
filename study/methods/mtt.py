"""MTT: synthetic images that lead a student along the trajectories of experts trained on real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from study.core.spaces import Space
from study.methods.base import MethodConfig, Task, register
from study.methods.initialize import initialize
from study.methods.trajectories.config import IMAGE_LR_RANGE, STUDENT_SPACE, TrajectoryConfig
from study.methods.trajectories.expert_matching import ExpertMatching, Matching, Trajectories
from study.methods.trajectories.learned_set import Start


@register
class MTT(ExpertMatching[TrajectoryConfig]):
    """Dataset distillation by matching training trajectories.

    A student starts from an expert's snapshot, takes N steps on the synthetic images, and is compared with
    the expert M epochs later. Images and the student's step size are learned; labels are hard.

    Source: Cazenavette et al. 2022, here with an exact gradient in the memory of one step.
    """

    name: ClassVar[str] = "mtt"
    uses_final: ClassVar[bool] = False
    Config: ClassVar[type[MethodConfig]] = TrajectoryConfig
    space: ClassVar[Space] = {"distill.image_lr": IMAGE_LR_RANGE, **STUDENT_SPACE}
    smoke: ClassVar[Mapping[str, Any]] = {
        "num_iterations": 4,
        "num_student_steps": 3,
        "num_expert_epochs": 1,
        "experts": {"num_experts": 1, "num_epochs": 25},
    }

    def start(self, task: Task, experts: Trajectories, generator: torch.Generator) -> Start:
        """Images by the configured rule; labels stay hard."""
        images, labels = initialize(self.config.init, task.train, task.ipc, generator)
        return Start(images, labels)

    def matching(self) -> Matching:
        """One range of start epochs all along, always updated."""
        last = self.config.max_start_epoch
        return Matching(start_range=lambda iteration: (0, last))
