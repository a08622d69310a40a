"""Images together with the steps to be trained on them: what DD learns, and how the two move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from study.core.errors import DivergedError
from study.core.records import Progress, StepSchedule, SyntheticSet
from study.methods.divergence import check_losses, check_pixels
from study.methods.trajectories.adjoint import StudentGradients

if TYPE_CHECKING:
    from study.methods.dd import DDConfig


def mini_sets(num_classes: int, ipc: int, num_epochs: int) -> Tensor:
    """The order of steps: one image a class in each, all images in turn, several times over.

    Gives positions [ipc · num_epochs, num_classes] int64 in a set that is grouped by class.
    """
    return torch.arange(num_classes * ipc).view(num_classes, ipc).T.repeat(num_epochs, 1).contiguous()


class LearnedStepSchedule:
    """Images with hard labels and a step size for every step, moved by Adam.

    A step size is the softplus of a free number, and so positive wherever that number goes.

    Attributes:
        pixels: [n, C, H, W] float32.
        labels: [n] int64 on the device of the images, grouped by class.
        free: [N] float32, the numbers behind the step sizes.
    """

    def __init__(
        self,
        config: DDConfig,
        images: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        order: Tensor,
        network_seed: int | None,
    ) -> None:
        """Take the starting point over, no copy is made.

        Args:
            config: gives the first step size, and the rates of Adam.
            images: [n, C, H, W].
            labels: [n] int64.
            class_names: one name a class.
            order: [N, b] int64, the images of each step.
            network_seed: of the one network this is learned for, or None.
        """
        self.pixels, self.labels = images, labels
        # The inverse of softplus, in double precision: log(exp(x) - 1).
        start = torch.full((len(order),), config.step_size, dtype=torch.float64).expm1().log()
        self.free = start.float().to(images.device)
        self._class_names, self._order, self._network_seed = class_names, order, network_seed
        self._rates = (config.image_lr, config.step_size_lr)
        self._optimizer = torch.optim.Adam(
            [
                {"params": [self.pixels], "lr": config.image_lr},
                {"params": [self.free], "lr": config.step_size_lr},
            ],
            betas=config.betas,
        )

    def step_sizes(self) -> Tensor:
        """[N] float32, above 0 even where softplus rounds to it."""
        return functional.softplus(self.free).clamp(min=torch.finfo(torch.float32).tiny)

    def scale_rates(self, factor: float) -> None:
        """Set both learning rates to this share of their first values."""
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def descend(self, runs: Sequence[StudentGradients], iteration: int) -> Progress:
        """Move images and step sizes along the mean gradient of some students, and report.

        Raises:
            DivergedError: a loss or a step size is not finite, or a pixel has left every sensible range.
        """
        losses = {
            "match/loss": torch.stack([run.loss for run in runs]).mean(),
            "match/step_size": self.step_sizes().mean(),
        }
        check_losses(losses, iteration)
        self.pixels.grad = torch.stack([run.images for run in runs]).mean(0)
        self.free.grad = torch.stack([run.step_sizes for run in runs]).mean(0) * self.free.sigmoid()
        self._optimizer.step()
        check_pixels(self.pixels, iteration)
        if not bool(self.free.isfinite().all()):
            raise DivergedError("a learned step size", iteration)
        return self.progress(iteration, losses)

    def progress(self, iteration: int, losses: Mapping[str, Tensor] | None = None) -> Progress:
        """A report without an update."""
        return Progress(iteration, losses or {}, self._snapshot)

    def _snapshot(self) -> SyntheticSet:
        order = self._order.to(self.pixels.device, copy=True)
        schedule = StepSchedule(order, self.step_sizes(), self._network_seed)
        return SyntheticSet(self.pixels.clone(), self.labels.clone(), self._class_names, schedule=schedule)
