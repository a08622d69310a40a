"""How an evaluation network is trained: the published presets, and what a user lays over them."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from study.core.config import Frozen
from study.core.errors import unknown_name

LearningRateSchedule = Literal["constant", "drop", "cosine"]


class TrainingRecipe(Frozen):
    """Everything that training an evaluation network needs to know, with nothing left open."""

    num_epochs: int = Field(300, ge=1)
    """Passes over the set (E) where no number of steps is given."""
    num_epochs_augmented: int | None = Field(None, ge=1)
    """E where augmentation is on, if that differs."""
    num_steps: int | None = Field(None, ge=1)
    """Updates in all, whatever the size of the set; wins over epochs."""
    lr: float = Field(0.01, gt=0)
    """Learning rate of SGD at the start."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD; its buffer is kept when the rate drops."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty on every parameter."""
    batch_size: int = Field(256, ge=1)
    """Images a step; a smaller set is taken whole."""
    schedule: LearningRateSchedule = "drop"
    """``drop``: ×0.1 once, after epoch E//2 + 1; ``cosine``: to 0 by epochs; or ``constant``."""
    augment: bool = False
    """Whether batches are augmented: one operation a batch, parameters an image."""
    use_learned_step_size: bool = False
    """Start from the set's own step size where it has one."""
    use_soft_labels: bool = True
    """Train on the set's soft labels where it has them; off trains on the classes alone."""
    use_schedule: bool = True
    """Replay the set's own steps where it has some, in place of everything above but the labels."""

    def steps(self, num_images: int) -> int:
        """Updates in all on a set of that size."""
        if self.num_steps is not None:
            return self.num_steps
        return self.epochs * math.ceil(num_images / self.batch_size)

    @property
    def epochs(self) -> int:
        """Passes over the set where no number of steps is given."""
        return (self.num_epochs_augmented if self.augment else None) or self.num_epochs


PRESETS: dict[str, TrainingRecipe] = {
    "quick": TrainingRecipe(num_steps=200, schedule="cosine", lr=0.02),
    "dc": TrainingRecipe(num_epochs=300, num_epochs_augmented=1000),
    "mtt": TrainingRecipe(num_epochs=1000, augment=True, use_learned_step_size=True),
    "datm": TrainingRecipe(num_epochs=1000, batch_size=128, augment=True, use_learned_step_size=True),
    "datadam": TrainingRecipe(num_epochs=1800, batch_size=64, augment=True),
    "course": TrainingRecipe(num_epochs=20, schedule="cosine"),
}
"""Recipes by name.

``quick`` is for searching: 200 steps of cosine bring random digits within noise of ``dc`` at a fraction of
its time. ``dc`` is the recipe of DC, DSA and DM: 300 epochs, or 1000 with
augmentation. ``mtt``, ``datm`` (also of PAD) and ``datadam`` are those of their papers' code, scored
after the last epoch and never at the best one. ``course`` is 20 epochs of cosine; what its text leaves
open follows ``dc``. The released evaluators run one epoch more than they say and forget the momentum
when the rate drops; here E means E, and the momentum stays.
"""


class EvaluationConfig(Frozen):
    """A preset, and whatever of it should be different."""

    preset: str = "quick"
    """A key of :data:`PRESETS`; every field of :class:`TrainingRecipe` that is left out takes its value."""
    num_seeds: int = Field(3, ge=1)
    """Networks trained from scratch for one score."""
    # The fields of a recipe, each left open; a type checker would not see fields that are made from it.
    num_epochs: int | None = Field(None, ge=1)
    """Passes over the set (E); sets a preset's number of steps aside."""
    num_steps: int | None = Field(None, ge=1)
    lr: float | None = Field(None, gt=0)
    """Learning rate of SGD at the start; a learned step size wins where it is used."""
    momentum: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0)
    batch_size: int | None = Field(None, ge=1)
    schedule: LearningRateSchedule | None = None
    augment: bool | None = None
    use_learned_step_size: bool | None = None
    use_soft_labels: bool | None = None
    use_schedule: bool | None = None

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise unknown_name("evaluation preset", preset, PRESETS)
        return preset

    def resolve(self) -> TrainingRecipe:
        """The preset with this configuration laid over it."""
        changes = self.model_dump(exclude={"preset", "num_seeds"}, exclude_none=True)
        if "num_epochs" in changes:
            changes = {"num_steps": None, "num_epochs_augmented": None, **changes}
        return TrainingRecipe(**{**PRESETS[self.preset].model_dump(), **changes})


def learning_rates(recipe: TrainingRecipe, num_images: int, lr: float) -> list[float]:
    """The learning rate of every update on a set of ``num_images``, in order, ``lr`` the first."""
    steps_per_epoch = math.ceil(num_images / recipe.batch_size)
    num_steps = recipe.steps(num_images)
    num_epochs = math.ceil(num_steps / steps_per_epoch)

    def factor(epoch: int) -> float:
        if recipe.schedule == "cosine":
            # In closed form: torch's scheduler goes from rate to rate, and rounds otherwise in the last bits.
            return 0.5 * (1 + math.cos(math.pi * epoch / num_epochs))
        return 0.1 if recipe.schedule == "drop" and epoch >= num_epochs // 2 + 1 else 1.0

    return [lr * factor(step // steps_per_epoch) for step in range(num_steps)]
