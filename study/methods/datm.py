"""DATM: trajectory matching with soft labels, and with a difficulty that suits the size of the set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from study.core.spaces import Range, Space
from study.methods.base import MethodConfig, Task, register
from study.methods.experts.config import ExpertConfig
from study.methods.trajectories.config import IMAGE_LR_RANGE, STUDENT_SPACE, TrajectoryConfig
from study.methods.trajectories.expert_matching import ExpertMatching, Matching, Trajectories
from study.methods.trajectories.expert_start import start_from_experts
from study.methods.trajectories.learned_set import Start


class FlatExpertConfig(ExpertConfig):
    """Experts as DATM and PAD train them: longer, and towards flat minima."""

    num_epochs: int = Field(100, ge=1)
    optimizer: Literal["sgd", "gsam"] = "gsam"
    """``gsam`` looks for flat minima at twice the cost; ``sgd`` is MTT's."""


class DATMConfig(TrajectoryConfig):
    """Settings of DATM; the values published for CIFAR-10 at 10 images a class are the defaults.

    A setting without a word means what it means in :class:`TrajectoryConfig`.
    """

    num_iterations: int = Field(10_000, ge=0)
    init: Literal["real", "noise", "real+noise", "correct"] = "correct"  # type: ignore[assignment]
    """``correct`` starts from real images that an expert classifies correctly, as published."""
    image_lr: float = Field(100.0, gt=0)
    num_student_steps: int = Field(80, ge=0)
    num_expert_epochs: int = Field(2, ge=1)
    min_start_epoch: int = Field(0, ge=0)
    """First snapshot that may be the start (T-); later ones suit large sets."""
    first_max_start_epoch: int | None = Field(None, ge=1)
    """Where the upper end of the range begins (T); by default it is ``max_start_epoch`` all along."""
    max_start_epoch: int = Field(20, ge=1)
    """Where the upper end of the range arrives (T+)."""
    expansion_fraction: float = Field(0.1, gt=0, le=1)
    """Share of the iterations after which it has arrived; published 0.1 at 10 images a class."""
    label_lr: float = Field(2.0, ge=0)
    """Learning rate of the soft labels; 0 keeps them."""
    label_momentum: float = Field(0.9, ge=0, lt=1)
    """Of the soft labels' SGD."""
    soft_labels: bool = True
    """Learn soft labels, starting from what the experts say; off keeps hard ones."""
    threshold: float | None = Field(1.0, gt=0)
    """No update where the loss is above it; 1 is a student that does not move, none updates always."""
    backoff: float = Field(0.7, gt=0, le=1)
    """What the step size is multiplied by where the threshold forbids an update and the loss is above 1; published 1,
    which leaves a set standing still for good once its step size is too large."""
    experts: FlatExpertConfig = Field(default_factory=FlatExpertConfig)

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> DATMConfig:
        first = self.first_max_start_epoch or self.max_start_epoch
        if not self.min_start_epoch < first <= self.max_start_epoch:
            raise ValueError(
                f"start epochs: min_start_epoch = {self.min_start_epoch} must be below first_max_start_epoch = "
                f"{first}, and that not above max_start_epoch = {self.max_start_epoch}"
            )
        return self

    def start_range(self, iteration: int) -> tuple[int, int]:
        """First start epoch and the one after the last, at an iteration counted from 0."""
        last = self.max_start_epoch
        first = self.first_max_start_epoch or last
        arrival = max(1, round(self.expansion_fraction * self.num_iterations))
        upper = min(last, first + math.floor((last - first) * iteration / arrival))
        return self.min_start_epoch, upper


@register
class DATM(ExpertMatching[DATMConfig]):
    """Difficulty-aligned trajectory matching.

    MTT with soft labels that start as what the experts say of the first images, a range of start epochs
    that moves from easy to hard, and no update where a student ends farther away than it began.

    Source: Guo et al. 2024.
    """

    name: ClassVar[str] = "datm"
    Config: ClassVar[type[MethodConfig]] = DATMConfig
    # The order of parameters decides which random numbers they get, so it is part of a search's seed.
    space: ClassVar[Space] = {
        "distill.image_lr": IMAGE_LR_RANGE,
        "distill.label_lr": Range(low=0.1, high=20.0, log=True),
        **STUDENT_SPACE,
    }
    smoke: ClassVar[Mapping[str, Any]] = {
        "num_iterations": 4,
        "num_student_steps": 3,
        "num_expert_epochs": 1,
        "experts": {"num_experts": 1, "num_epochs": 20},
    }

    def matching(self) -> Matching:
        """Range and threshold."""
        config = self.config
        return Matching(config.start_range, threshold=config.threshold, backoff=config.backoff)

    def start(self, task: Task, experts: Trajectories, generator: torch.Generator) -> Start:
        """Images by the configured rule, with what experts say of them as soft labels."""
        config = self.config
        images, labels, logits = start_from_experts(config.init, task, experts, generator)
        return Start(
            images, labels, logits if config.soft_labels else None, config.label_lr, config.label_momentum
        )
