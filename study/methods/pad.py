"""PAD: trajectory matching whose experts see images from easy to hard, and whose loss leaves shallow layers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from study.core.seeding import Generators
from study.core.spaces import Range, Space
from study.methods.base import MethodConfig, Task, TaskSize, register
from study.methods.datm import DATM, DATMConfig
from study.methods.difficulty.curriculum import CurriculumConfig, build_curriculum, curriculum_key
from study.methods.difficulty.scores import DifficultyConfig, difficulty_key, difficulty_scores
from study.methods.experts.config import EpochOrder
from study.methods.hooks import ScoreFigure
from study.methods.trajectories.expert_matching import Matching
from study.methods.trajectories.losses import Drop
from study.models.work import Load, Loads


class PADConfig(DATMConfig):
    """Settings of PAD; the values published for CIFAR-10 at 10 images a class are the defaults."""

    schedule: CurriculumConfig = Field(default_factory=CurriculumConfig)
    """Which images the experts see in which epoch (FIEX)."""
    difficulty: DifficultyConfig = Field(default_factory=DifficultyConfig)
    """How hard an image is."""
    discard_fraction: float = Field(0.25, ge=0, lt=1)
    """Share of the parameters that the loss leaves out (FIEM); published 0 / 0.25 / 0.25 at 1 / 10 / 50 images."""
    drop: Drop = "shallow"
    """``shallow`` leaves out the first ones, as in the paper; ``low_loss`` those that fit best, as in the code."""


@register
class PAD(DATM):
    """Prioritize alignment in dataset distillation.

    DATM on experts that first see the easiest images of each class, then more, then all, and finally all but
    the easiest; and with the shallow share of the parameters left out of the loss. With the whole set in
    every epoch and nothing discarded it is DATM, to the bit.

    Source: Li et al. 2024.
    """

    name: ClassVar[str] = "pad"
    Config: ClassVar[type[MethodConfig]] = PADConfig
    space: ClassVar[Space] = {
        **DATM.space,
        "distill.discard_fraction": Range(low=0.0, high=0.75, step=0.25),
        # A coarse grid: every value needs experts of its own, which other trials can then share.
        "distill.schedule.initial_fraction": Range(low=0.5, high=1.0, step=0.25),
    }

    preparation_settings: ClassVar[tuple[str, ...]] = ("experts", "schedule", "difficulty")

    config: PADConfig

    def order(self, task: Task, generators: Generators) -> EpochOrder:
        """From easy to hard."""
        return build_curriculum(task, self.config.schedule, self.config.difficulty, generators)

    def order_key(self, task: Task, generators: Generators) -> Mapping[str, Any]:
        """The curriculum's settings and what its scores depend on; no image is scored."""
        return curriculum_key(self.config.schedule, difficulty_key(task, self.config.difficulty, generators))

    def preparation_loads(self, size: TaskSize) -> Loads:
        """Scores besides the experts."""
        loads = dict(super().preparation_loads(size))
        if self.config.schedule.is_whole:
            return loads
        scoring = self.config.difficulty.loads(size)
        return {loop: loads.get(loop, Load()) + scoring.get(loop, Load()) for loop in {**loads, **scoring}}

    def figures(self, task: Task, generators: Generators) -> Sequence[ScoreFigure]:
        """How hard each training image is; nothing where the curriculum does not ask for it."""
        if self.config.schedule.is_whole:
            return ()
        scores = difficulty_scores(task, self.config.difficulty, generators)
        return [ScoreFigure("difficulty", scores, "difficulty score", "easiest", "hardest")]

    def matching(self) -> Matching:
        """Range, threshold and discarded parameters."""
        return replace(
            super().matching(), discard_fraction=self.config.discard_fraction, drop=self.config.drop
        )
