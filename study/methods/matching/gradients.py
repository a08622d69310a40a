"""The loop of DC and DSA: synthetic images whose gradients point where those of real images point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from study.core.chunks import fitting
from study.core.records import Progress
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig, AugmentationRecord, augment, draw
from study.methods.base import Task, TaskSize
from study.methods.matching.inner_training import InnerTraining
from study.methods.matching.losses import GradientDistance, gradient_distance
from study.methods.matching.synthetic_images import ClassBatches, MatchingConfig, SyntheticImages
from study.models.work import Loads

PUBLISHED_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Outer steps and inner epochs by images per class."""

STATISTICS_PER_CLASS = 16
"""Real images a class from which a batch norm takes its statistics."""


class GradientMatchingConfig(MatchingConfig):
    """Settings of gradient matching; the published values are the defaults."""

    num_iterations: int = Field(1000, ge=0)
    """Updates of the synthetic images. Published are 1000 networks, so 1000 times ``num_outer_steps``."""
    image_lr: float = Field(0.1, gt=0)
    distance: GradientDistance = "grouped_cosine"
    """Between gradients: the published ``grouped_cosine``, ``cosine`` or ``mse``."""
    num_outer_steps: int | None = Field(None, ge=1)
    """Updates of the images before a new network is drawn; see :func:`published_loops` for the default."""
    num_inner_epochs: int | None = Field(None, ge=0)
    """Passes of network training over the synthetic images between two updates; likewise."""
    model_lr: float = Field(0.01, gt=0)
    """Learning rate of this training, plain SGD."""
    batch_synthetic: int = Field(256, ge=1)
    """Images of one of its steps."""

    def loops(self, ipc: int) -> tuple[int, int]:
        """Outer steps and inner epochs at that many images per class."""
        outer, inner = published_loops(ipc)
        return (
            self.num_outer_steps or outer,
            inner if self.num_inner_epochs is None else self.num_inner_epochs,
        )


def published_loops(ipc: int) -> tuple[int, int]:
    """Outer steps and inner epochs, published for 1, 10, 20, 30, 40 and 50 images per class.

    In between both are interpolated linearly in the logarithm of the images per class and rounded; beyond 50
    the last ones stay.
    """
    known = [math.log(number) for number in PUBLISHED_LOOPS]
    outer, inner = (
        round(float(np.interp(math.log(ipc), known, loops)))
        for loops in zip(*PUBLISHED_LOOPS.values(), strict=True)
    )
    return outer, inner


def gradient_loads(config: GradientMatchingConfig, size: TaskSize) -> Loads:
    """Counted work of one update: gradients of both kinds of images, and the training before the next one."""
    work, num_outer = size.work, config.loops(size.ipc)[0]
    num_batches = math.ceil(size.num_synthetic / config.batch_synthetic)
    num_steps = config.loops(size.ipc)[1] * num_batches * (num_outer - 1) / num_outer
    num_classes = len(size.class_counts)
    real = work.training(size.num_drawn(config.batch_real) / num_classes, num_classes)
    training = work.training(size.num_synthetic / num_batches, num_steps)
    return {"evaluation": real + training, "student": work.student(size.num_synthetic)}


def match_gradients(
    config: GradientMatchingConfig, task: Task, augmentation: AugmentationConfig, generators: Generators
) -> Iterator[Progress]:
    """Yield the starting point, then one progress an update with its ``match/loss``.

    For ``num_outer_steps`` updates one network is compared on both kinds of images and, in between, trained
    on the synthetic ones; at one outer step it is never trained.

    Memory: the second-order graph of some classes' synthetic images, one float32 gradient a class, and the
    first-order graph of one class's real batch. Time, in forward passes: 3 a real image, 8 a synthetic one,
    and 3 a synthetic image and inner epoch.
    """
    synthetic = SyntheticImages(task, config, generators["init"])
    yield synthetic.progress(0)
    num_outer_steps, num_inner_epochs = config.loops(task.ipc)
    training = InnerTraining(task, config.model_lr, config.batch_synthetic, augmentation)
    real = ClassBatches(task.train, config.batch_real)
    statistics = ClassBatches(task.train, STATISTICS_PER_CLASS)
    num_steps = num_inner_epochs * math.ceil(len(synthetic.labels) / config.batch_synthetic)
    for iteration in range(1, config.num_iterations + 1):
        if (iteration - 1) % num_outer_steps == 0:
            training.redraw(generators["networks"])
        else:
            training.train(synthetic.pixels.detach(), synthetic.labels, num_steps, generators["training"])
        training.freeze_batch_statistics(statistics.draw(generators["statistics"]))
        source = generators["augmentation"]
        siamese = draw(augmentation, task.train.num_classes, task.train.image_shape, source, shared_op=False)
        targets = _real_gradients(training, real, siamese, generators["batches"])
        loss, gradient = _distance_and_gradient(training, synthetic, siamese, targets, config.distance, task)
        yield synthetic.descend(gradient, {"match/loss": loss}, iteration)


def _real_gradients(
    training: InnerTraining, real: ClassBatches, siamese: AugmentationRecord, generator: torch.Generator
) -> dict[str, Tensor]:
    """Gradient [classes, *shape] of each parameter in float32, one class's real batch after the other."""
    batch = augment(real.draw(generator), siamese, real.labels)
    sizes = real.labels.bincount().tolist()
    labels = real.labels.to(batch.device)
    by_class = [
        training.gradients(images, targets)
        for images, targets in zip(torch.split(batch, sizes), torch.split(labels, sizes), strict=True)
    ]
    return {name: torch.stack([gradients[name] for gradients in by_class]) for name in by_class[0]}


def _distance_and_gradient(
    training: InnerTraining,
    synthetic: SyntheticImages,
    siamese: AugmentationRecord,
    targets: Mapping[str, Tensor],
    metric: GradientDistance,
    task: Task,
) -> tuple[Tensor, Tensor]:
    """Sum of the distances of all classes, and its gradient for the pixels, some classes at a time."""
    together = fitting("gradient groups", task.ipc, synthetic.pixels.device)
    total = torch.zeros((), device=synthetic.pixels.device)
    gradients = []
    for classes in torch.split(torch.arange(task.train.num_classes), together):
        chosen = torch.isin(synthetic.labels, classes).nonzero().flatten()
        pixels = synthetic.pixels.detach()[chosen.to(synthetic.pixels.device)].requires_grad_()
        images = augment(pixels, siamese, synthetic.labels[chosen])
        made = synthetic_gradients(training, images, synthetic.labels[chosen], len(classes))
        real = [target[classes.to(target.device)] for target in targets.values()]
        loss = gradient_distance(real, made, metric)
        gradients.append(torch.autograd.grad(loss, pixels)[0])
        total = total + loss.detach()
    return total, torch.cat(gradients)


def synthetic_gradients(
    training: InnerTraining, images: Tensor, labels: Tensor, num_classes: int
) -> list[Tensor]:
    """Gradients [classes, *shape] of the mean cross-entropy of each class, with their graph, in float32.

    Images [classes · ipc, C, H, W] and labels are grouped by class. Every class gets a copy of the network in
    one stacked pass: many small operations become few large ones.
    """
    network = training.network
    copies = {
        name: parameter.detach().expand(num_classes, *parameter.shape).requires_grad_()
        for name, parameter in network.named_parameters()
    }
    logits = network.forward_stacked(copies, images.view(num_classes, -1, *images.shape[1:]))
    targets = labels.to(images.device).view(num_classes, -1)
    # The sum over classes of each one's mean: a copy's gradient is that of its own class alone.
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    loss = loss / targets.shape[1]
    return list(torch.autograd.grad(loss, list(copies.values()), create_graph=True))
