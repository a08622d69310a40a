"""A synthetic set of which more than the pixels is learned: soft labels and the step size as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from study.core.errors import DivergedError
from study.core.records import Progress, SyntheticSet
from study.methods.learned import LearnedImages
from study.methods.trajectories.adjoint import StudentGradients
from study.methods.trajectories.config import TrajectoryConfig

MIN_STEP_SIZE = 1e-6
"""A step size below zero would climb; the released code does not prevent it."""


@dataclass(frozen=True, eq=False)
class Start:
    """What is learned, where it begins, and how fast its labels move.

    Attributes:
        images: [n, C, H, W], becomes the synthetic images.
        labels: [n] int64, grouped by class.
        logits: [n, classes] soft labels, or None for hard ones.
        label_lr: of the soft labels, as ``label_momentum``.
    """

    images: Tensor
    labels: Tensor
    logits: Tensor | None = None
    label_lr: float = 0.0
    label_momentum: float = 0.9


class LearnedSet(LearnedImages):
    """Images, labels and a step size, moved by SGD along the gradients of a student's run.

    Attributes:
        logits: [n, classes] float32 soft labels, or None for hard ones.
        step_size: scalar float32.
    """

    def __init__(
        self, config: TrajectoryConfig, start: Start, step_size: float, class_names: tuple[str, ...]
    ) -> None:
        """Take the starting point over, no copy is made; rates are the configuration's."""
        self.pixels, self.labels, self.logits = start.images, start.labels, start.logits
        self.step_size = torch.tensor(step_size, device=start.images.device)
        self._class_names = class_names
        groups = [
            {"params": [self.pixels], "lr": config.image_lr, "momentum": config.momentum},
            {"params": [self.step_size], "lr": config.step_size_lr, "momentum": config.momentum},
        ]
        if self.logits is not None:
            labels = {"params": [self.logits], "lr": start.label_lr, "momentum": start.label_momentum}
            groups.append(labels)
        self._optimizer = torch.optim.SGD(groups, lr=config.image_lr)

    @property
    def targets(self) -> Tensor:
        """What a student is trained on: soft labels where there are, else classes."""
        return self.labels if self.logits is None else self.logits

    def descend(self, gradients: StudentGradients, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Move everything that is learned, and report; DivergedError where it has run away."""
        self.pixels.grad, self.step_size.grad = gradients.images, gradients.step_sizes
        if self.logits is not None:
            self.logits.grad = gradients.labels
        self._move(losses, iteration)
        self.step_size.clamp_(min=MIN_STEP_SIZE)
        if not bool(self.step_size.isfinite()):
            raise DivergedError("the learned step size", iteration)
        return self.progress(iteration, losses)

    def shrink_step_size(self, factor: float) -> None:
        """Take smaller steps from now on, where students overshoot."""
        self.step_size.mul_(factor).clamp_(min=MIN_STEP_SIZE)

    def _snapshot(self) -> SyntheticSet:
        logits = None if self.logits is None else self.logits.clone()
        return SyntheticSet(
            self.pixels.clone(), self.labels.clone(), self._class_names, logits, float(self.step_size)
        )
