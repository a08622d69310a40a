"""Time one DataDAM iteration of ours beside a plain per-class float32 loop on the same work, in one run.

Their mean losses must agree; see ``iterations.py`` for the rules. Example:

    python experiments/benchmarks/datadam_iteration.py --dataset mnist --ipc 10 --batch-real 64 --iterations 5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from iterations import Benchmark, main
from torch import Tensor
from torch.nn import functional

from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import Task
from study.methods.datadam import DataDAM, DataDAMConfig
from study.methods.initialize import initialize
from study.methods.matching import ClassBatches
from study.models.pool import Network, build_model

IMAGE_LR = 1e-2
"""A hundredth of the published one."""


def mean_features(network: Network, images: Tensor, power: float) -> list[Tensor]:
    """Mean attention maps of all layers but the last, and mean embedding, of one class's images."""
    maps, embedding = network.observe(images)
    attention = [
        functional.normalize(one.abs().pow(power).sum(1).flatten(1), dim=1).mean(0) for one in maps[:-1]
    ]
    return [*attention, embedding.mean(0)]


def plain_iterations(task: Task, config: DataDAMConfig, generators: Generators) -> Iterator[float]:
    """DataDAM as one would first write it: class after class, float32, one image tensor a class."""
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
            with torch.no_grad():
                wanted = mean_features(
                    network, augment(real_class, record, real_draw), config.attention_power
                )
            made = mean_features(
                network, augment(synthetic_class, record, synthetic_draw), config.attention_power
            )
            *maps, output = [(a - b).square().sum() for a, b in zip(wanted, made, strict=True)]
            loss = loss + config.loss_scale * (torch.stack(maps).sum() + config.output_weight * output)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def configure(num_iterations: int, batch_real: int) -> DataDAMConfig:
    """DataDAM as printed, apart from its learning rate."""
    return DataDAMConfig(num_iterations=num_iterations, image_lr=IMAGE_LR, batch_real=batch_real)


if __name__ == "__main__":
    sys.exit(main(Benchmark(DataDAM, configure, plain_iterations), __doc__))
