"""The images that matching methods optimise, and the settings they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from study.core.records import Progress, SyntheticSet
from study.methods.base import MethodConfig, Task
from study.methods.initialize import initialize
from study.methods.learned import LearnedImages
from study.methods.matching.random_features import averaging_matrix
from study.methods.matching.real_batches import BatchRule


class MatchingConfig(MethodConfig):
    """Settings of methods that compare batches of real images with all synthetic ones."""

    image_lr: float = Field(1.0, gt=0)
    """Learning rate of the pixels."""
    momentum: float = Field(0.5, ge=0, lt=1)
    """Of the pixels' SGD."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """What moves the pixels: ``sgd``, or ``adamw``, whose steps have the size of ``image_lr`` whatever the loss."""
    weight_decay: float = Field(0.0, ge=0)
    """Of AdamW, which pulls pixels to the mean colour; NCFM publishes 5e-4."""
    batch_real: int = Field(256, ge=1)
    """Real images a class in each iteration; a smaller class gives all it has."""
    real_batches: BatchRule = "random"
    """How they are chosen: at ``random``, or one of each of as many ``k-means`` clusters of the class."""


class SyntheticImages(LearnedImages):
    """The images a method optimises, by SGD with momentum or AdamW, and nothing else.

    Attributes:
        pixels: [classes · ipc, C, H, W] float32 leaf, grouped by class.
        labels: [classes · ipc] int64 on the CPU.
        averaging: [classes, classes · ipc] float32, see :func:`averaging_matrix`.
    """

    def __init__(self, task: Task, config: MatchingConfig, generator: torch.Generator) -> None:
        """Draw the starting point; raises as :func:`study.methods.initialize.initialize` does."""
        images, labels = initialize(config.init, task.train, task.ipc, generator)
        self.pixels = images.requires_grad_()
        self.labels = labels.cpu()
        self.averaging = averaging_matrix(labels, task.train.num_classes)
        self._class_names = task.train.class_names
        self._optimizer: torch.optim.Optimizer = torch.optim.SGD(
            [self.pixels], lr=config.image_lr, momentum=config.momentum
        )
        if config.optimizer == "adamw":
            self._optimizer = torch.optim.AdamW(
                [self.pixels], lr=config.image_lr, weight_decay=config.weight_decay
            )
        self.bound(config.pixel_range, task.train)

    def step(self, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Descend along the gradient of ``match/loss``, which has its graph; otherwise as :meth:`descend`."""
        return self.descend(torch.autograd.grad(losses["match/loss"], self.pixels)[0], losses, iteration)

    def descend(self, gradient: Tensor, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Descend along a gradient [classes · ipc, C, H, W]; ``iteration`` counts the updates with this one.

        Raises DivergedError where a loss is not finite, or a pixel has left every sensible range.
        """
        self.pixels.grad = gradient
        self._move(losses, iteration)
        return self.progress(iteration, {name: loss.detach() for name, loss in losses.items()})

    def _snapshot(self) -> SyntheticSet:
        pixels = self.pixels.detach().clone()
        return SyntheticSet(pixels, self.labels.to(pixels.device, copy=True), self._class_names)
