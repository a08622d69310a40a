"""PAD's curriculum: which training images each epoch of an expert sees, from easy to hard."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from study.core.config import Frozen
from study.core.errors import ConfigError, ShapeError
from study.core.seeding import Generators
from study.methods.base import Task
from study.methods.difficulty.ranking import rank_by_class
from study.methods.difficulty.scores import DifficultyConfig, difficulty_key, difficulty_scores
from study.methods.experts.config import EpochOrder, WholeSet

MAX_DENOMINATOR = 1_000_000

Removal = tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0, le=0.999)]]


class CurriculumConfig(Frozen):
    """PAD's curriculum of an expert (FIEX); 1.0 and no removal for all images always."""

    initial_fraction: float = Field(0.75, gt=0, le=1)
    """Share of each class, the easiest, that the first epoch sees (paper: IR)."""
    addition_end_epoch: int = Field(20, ge=1)
    """Epoch that first sees every image; the hard ones are added linearly until then (paper: AEE)."""
    removals: tuple[Removal, ...] = Field(((40, 0.1), (60, 0.2)), max_length=2)
    """Up to two pairs (epoch, fraction): after that epoch the easiest fraction of each class is left out.
    Fractions are of the whole class, not of what is left. The paper names one removal, its code makes two."""

    @field_validator("removals")
    @classmethod
    def _after_addition_and_ascending(
        cls, removals: tuple[Removal, ...], info: ValidationInfo
    ) -> tuple[Removal, ...]:
        epochs = [epoch for epoch, _ in removals]
        if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
            raise ValueError("the epochs of removals must ascend")
        addition_end = info.data.get("addition_end_epoch", 0)
        if epochs and epochs[0] < addition_end:
            raise ValueError(f"nothing can be removed before the addition ends with epoch {addition_end}")
        return removals

    @property
    def is_whole(self) -> bool:
        """Whether every epoch sees every image."""
        return _exact(self.initial_fraction) == 1 and not self.effective_removals()

    def added(self, epoch: int) -> Fraction:
        """Share of each class, from the easy end, that has been added by an epoch."""
        initial = _exact(self.initial_fraction)
        return min(Fraction(1), initial + (1 - initial) * Fraction(epoch, self.addition_end_epoch))

    def removed(self, epoch: int) -> Fraction:
        """Share of each class, from the easy end, that an epoch leaves out."""
        past = [fraction for after, fraction in self.removals if epoch > after]
        return _exact(past[-1]) if past else Fraction(0)

    def effective_removals(self) -> list[list[float]]:
        """Removals [epoch, fraction] that change what an epoch sees."""
        removals: list[list[float]] = []
        for epoch, fraction in self.removals:
            before = removals[-1][1] if removals else 0.0
            if (after := float(_exact(fraction))) != before:
                removals.append([epoch, after])
        return removals


class Curriculum:
    """PAD's curriculum: first the easiest of each class, then more, then all, then without the easiest.

    With n images in a class, initial fraction IR, addition end AEE and removals (rm1, r1), (rm2, r2):

    ================ =========================================================
    epoch e          images of the class
    ================ =========================================================
    e <= AEE         the easiest ⌊p·n⌋, p = min(1, IR + (1 - IR)·e / AEE)
    AEE < e <= rm1   all
    rm1 < e <= rm2   all but the easiest ⌊r1·n⌋
    rm2 < e          all but the easiest ⌊r2·n⌋
    ================ =========================================================

    Source: Li et al. 2024 (PAD), where n is 5,000 in every class.
    """

    def __init__(
        self, config: CurriculumConfig, ranking: Sequence[Tensor], difficulty: Mapping[str, object]
    ) -> None:
        """Check that the curriculum fits the classes.

        ``ranking`` are for each class the positions of its images, easiest first; ``difficulty`` are the
        plain values that determine it.

        Raises:
            ShapeError: the ranking names a position twice or leaves one out.
            ConfigError: the first epoch would see no image of a class that has some.
        """
        self.config = config
        self._ranking = [positions.cpu() for positions in ranking]
        self._difficulty = dict(difficulty)
        everything = torch.cat([torch.zeros(0, dtype=torch.int64), *self._ranking]).sort().values
        if not torch.equal(everything, torch.arange(len(everything))):
            raise ShapeError(f"the ranking does not name each of its {len(everything)} positions once")
        smallest = min((len(positions) for positions in self._ranking if len(positions)), default=0)
        if smallest and not math.floor(config.added(0) * smallest):
            raise ConfigError(
                f"initial_fraction = {config.initial_fraction}: leaves none of the {smallest} images of the smallest "
                f"class; use {math.ceil(1000 / smallest) / 1000:g} or more"
            )

    def indices(self, epoch: int) -> Tensor:
        """Positions [images] int64 on the CPU, ascending; the caller shuffles."""
        return torch.cat([self._of_class(positions, epoch) for positions in self._ranking]).sort().values

    def key(self) -> Mapping[str, object]:
        """Plain values for a cache key, see :func:`curriculum_key`."""
        return curriculum_key(self.config, self._difficulty)

    def _of_class(self, positions: Tensor, epoch: int) -> Tensor:
        first = math.floor(self.config.removed(epoch) * len(positions))
        last = math.floor(self.config.added(epoch) * len(positions))
        return positions[first:last]


def curriculum_key(config: CurriculumConfig, difficulty: Mapping[str, object]) -> Mapping[str, object]:
    """Plain values for a cache key; that of :class:`WholeSet` where every epoch sees every image."""
    if config.is_whole:
        return WholeSet().key()
    initial = _exact(config.initial_fraction)
    return {
        "order": "difficulty",
        "difficulty": dict(difficulty),
        "initial_fraction": float(initial),
        "addition_end_epoch": None if initial == 1 else config.addition_end_epoch,
        "removals": config.effective_removals(),
    }


def build_curriculum(
    task: Task, config: CurriculumConfig, difficulty: DifficultyConfig, generators: Generators
) -> EpochOrder:
    """The curriculum of a task; images are scored only where their difficulty matters.

    Raises ConfigError where a class is left without images, or the scores cannot be made.
    """
    if config.is_whole:
        return WholeSet()
    scores = difficulty_scores(task, difficulty, generators)
    ranking = rank_by_class(scores, task.train.labels, task.train.num_classes)
    return Curriculum(config, ranking, difficulty_key(task, difficulty, generators))


def _exact(fraction: float) -> Fraction:
    """The rational number that a float stands for, such as 3/10 for the 0.30000000000000004 of a search's grid."""
    # In floats 0.29 · 100 is 28.999999999999996, and rounding down would lose an image.
    return Fraction(fraction).limit_denominator(MAX_DENOMINATOR)
