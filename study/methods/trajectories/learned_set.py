"""A synthetic set of which more than the pixels is learned: soft labels and the step size as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from study.core.errors import DivergedError
from study.core.records import Progress, SyntheticSet
from study.methods.divergence import check_losses, check_pixels
from study.methods.trajectories.adjoint import StudentGradients

__all__ = ["MIN_STEP_SIZE", "LearnedSet"]

MIN_STEP_SIZE = 1e-6
"""A step size below zero would climb; the released code does not prevent it."""


class LearnedSet:
    """Images, labels and a step size, moved by SGD along the gradients of a student's run.

    Attributes:
        pixels: [n, C, H, W] float32.
        labels: [n] int64 on the device of the images, grouped by class.
        logits: [n, classes] float32 soft labels, or None for hard ones.
        step_size: scalar float32.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        step_size: float,
        *,
        image_lr: float,
        momentum: float,
        step_size_lr: float,
        logits: Tensor | None = None,
        label_lr: float = 0.0,
        label_momentum: float = 0.9,
    ) -> None:
        """Take the starting point over.

        Args:
            images: [n, C, H, W]; becomes the pixels, no copy is made.
            labels: [n] int64.
            class_names: one name a class.
            step_size: of the student at the start.
            image_lr: of the pixels.
            momentum: of the pixels and the step size.
            step_size_lr: of the step size.
            logits: [n, classes] soft labels to learn, or None.
            label_lr: of the soft labels.
            label_momentum: of the soft labels.
        """
        self.pixels, self.labels, self.logits = images, labels, logits
        self.step_size = torch.tensor(step_size, device=images.device)
        self._class_names = class_names
        groups = [
            {"params": [self.pixels], "lr": image_lr, "momentum": momentum},
            {"params": [self.step_size], "lr": step_size_lr, "momentum": momentum},
        ]
        if logits is not None:
            groups.append({"params": [logits], "lr": label_lr, "momentum": label_momentum})
        self._optimizer = torch.optim.SGD(groups, lr=image_lr)

    @property
    def targets(self) -> Tensor:
        """What a student is trained on: soft labels where there are, else classes."""
        return self.labels if self.logits is None else self.logits

    def descend(self, gradients: StudentGradients, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Move everything that is learned, and report.

        Raises:
            DivergedError: a loss is not finite, or a pixel has left every sensible range.
        """
        check_losses(losses, iteration)
        self.pixels.grad, self.step_size.grad = gradients.images, gradients.step_sizes
        if self.logits is not None:
            self.logits.grad = gradients.labels
        self._optimizer.step()
        self.step_size.clamp_(min=MIN_STEP_SIZE)
        check_pixels(self.pixels, iteration)
        if not bool(self.step_size.isfinite()):
            raise DivergedError("the learned step size", iteration)
        return self.progress(iteration, losses)

    def progress(self, iteration: int, losses: Mapping[str, Tensor] | None = None) -> Progress:
        """A report without an update."""
        return Progress(iteration, losses or {}, self._snapshot())

    def _snapshot(self) -> Callable[[], SyntheticSet]:
        def snapshot() -> SyntheticSet:
            logits = None if self.logits is None else self.logits.clone()
            return SyntheticSet(
                self.pixels.clone(), self.labels.clone(), self._class_names, logits, float(self.step_size)
            )

        return snapshot
