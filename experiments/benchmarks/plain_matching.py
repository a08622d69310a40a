"""Distribution and gradient matching as one would first write it, for benchmarks to stand beside.

Class after class, in float32, with one tensor for all synthetic images. The numbers are drawn as ours draws
them, so that both do the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import Task
from study.methods.initialize import initialize
from study.methods.matching.real_batches import ClassBatches
from study.models.pool import Network, build_model

__all__ = ["ClassLoss", "plain_iterations"]

ClassLoss = Callable[[Network, Tensor, Tensor, int, Any], Tensor]
"""Loss of one class from network, augmented real and synthetic images, label, and configuration."""


def plain_iterations(
    class_loss: ClassLoss, task: Task, config: Any, generators: Generators
) -> Iterator[tuple[float, Tensor]]:
    """Update the images by the losses of all classes, with a new network every time.

    Yields:
        The sum of the losses of an iteration, and the images [classes · ipc, C, H, W], which go on being updated.
    """
    device, train = task.compute.device, task.train
    images, _ = initialize(config.init, train, task.ipc, generators["init"])
    images.requires_grad_()
    optimizer = torch.optim.SGD([images], lr=config.image_lr, momentum=config.momentum)
    batches = ClassBatches(train, config.batch_real)
    per_class = batches.labels.bincount().tolist()
    for _ in range(config.num_iterations):
        network = build_model(
            task.model, train.image_shape, train.num_classes, generators["networks"], device
        )
        record = draw(
            task.augmentation, train.num_classes, train.image_shape, generators["augmentation"],
            shared_op=False,
        )  # fmt: skip
        real = torch.split(batches.draw(generators["batches"]), per_class)
        total = 0.0
        optimizer.zero_grad()
        for label, pair in enumerate(zip(real, images.split(task.ipc), strict=True)):
            seen = [augment(batch, record, torch.full((len(batch),), label)) for batch in pair]
            loss = class_loss(network, seen[0], seen[1], label, config)
            loss.backward(inputs=[images])
            total += loss.item()
        optimizer.step()
        yield total, images
