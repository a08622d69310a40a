"""Time one DM iteration of ours beside a plain per-class float32 loop on the same work, in one run.

Their mean losses must agree; see ``iterations.py`` for the rules. Example:

    python experiments/benchmarks/dm_iteration.py --dataset mnist --ipc 10 --iterations 5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from iterations import Benchmark, main

from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import Task
from study.methods.dm import DM, DMConfig
from study.methods.initialize import initialize
from study.methods.matching import ClassBatches
from study.models.pool import build_model

IMAGE_LR = 1e-3
"""A thousandth of what DM uses."""


def plain_iterations(task: Task, config: DMConfig, generators: Generators) -> Iterator[float]:
    """DM as one would first write it: class after class, float32, one image tensor a class."""
    device, train = task.compute.device, task.train
    images, _ = initialize(config.init, train, task.ipc, generators["init"])
    images.requires_grad_()
    optimizer = torch.optim.SGD([images], lr=config.image_lr, momentum=config.momentum)
    batches = ClassBatches(train, config.batch_real)
    per_class = batches.labels.bincount().tolist()
    for _ in range(config.num_iterations):
        network = build_model(
            task.model, train.image_shape, train.num_classes, generators["networks"], device
        ).requires_grad_(False)
        record = draw(
            task.augmentation,
            train.num_classes,
            train.image_shape,
            generators["augmentation"],
            shared_op=False,
        )
        real = torch.split(batches.draw(generators["batches"]), per_class)
        loss = torch.zeros((), device=device)
        for label, (real_class, synthetic_class) in enumerate(zip(real, images.split(task.ipc), strict=True)):
            real_draw = torch.full((len(real_class),), label)
            synthetic_draw = torch.full((task.ipc,), label)
            real_mean = network.embed(augment(real_class, record, real_draw)).detach().mean(0)
            synthetic_mean = network.embed(augment(synthetic_class, record, synthetic_draw)).mean(0)
            loss = loss + (real_mean - synthetic_mean).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def configure(num_iterations: int, batch_real: int) -> DMConfig:
    """DM as published, apart from its learning rate."""
    return DMConfig(num_iterations=num_iterations, image_lr=IMAGE_LR, batch_real=batch_real)


if __name__ == "__main__":
    sys.exit(main(Benchmark(DM, configure, plain_iterations), __doc__))
