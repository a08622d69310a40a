"""Time one update of ours by gradient matching (DSA) beside a plain per-class float32 loop, in one run.

The network is drawn anew for every update, as at one image a class: training it in between costs both sides
the same. Second derivatives are not compiled. See ``iterations.py`` for the rules. Example:

    python experiments/benchmarks/dc_iteration.py --dataset mnist --ipc 1 --batch-real 64 --iterations 5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from iterations import Benchmark, main
from torch.nn import functional

from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import Task
from study.methods.dsa import DSA
from study.methods.gradient_matching import GradientMatchingConfig
from study.methods.initialize import initialize
from study.methods.matching import ClassBatches
from study.models.pool import build_model

IMAGE_LR = 1e-3
"""A hundredth of the published one."""


def plain_iterations(task: Task, config: GradientMatchingConfig, generators: Generators) -> Iterator[float]:
    """DSA as one would first write it: class after class, float32, one image tensor a class."""
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
        parameters = list(network.parameters())
        record = draw(
            task.augmentation,
            train.num_classes,
            train.image_shape,
            generators["augmentation"],
            shared_op=False,
        )
        real = torch.split(batches.draw(generators["batches"]), per_class)
        total = 0.0
        optimizer.zero_grad()
        for label, (real_class, synthetic_class) in enumerate(zip(real, images.split(task.ipc), strict=True)):
            gradients = []
            for batch, keep in ((real_class, False), (synthetic_class, True)):
                draws = torch.full((len(batch),), label)
                logits = network(augment(batch, record, draws))
                error = functional.cross_entropy(logits, draws.to(device))
                gradients.append(torch.autograd.grad(error, parameters, create_graph=keep))
            loss = torch.zeros((), device=device)
            for wanted, made in zip(*gradients, strict=True):
                if wanted.ndim > 1:
                    a, b = wanted.flatten(1), made.flatten(1)
                    lengths = a.norm(dim=1) * b.norm(dim=1) + 1e-6
                    loss = loss + (1 - (a * b).sum(1) / lengths).sum()
            loss.backward(inputs=[images])
            total += loss.item()
        optimizer.step()
        yield total


def configure(num_iterations: int, batch_real: int) -> GradientMatchingConfig:
    """DSA as published, apart from its learning rate and with a new network for every update."""
    return GradientMatchingConfig(
        num_iterations=num_iterations, image_lr=IMAGE_LR, batch_real=batch_real, num_outer_steps=1
    )


if __name__ == "__main__":
    sys.exit(main(Benchmark(DSA, configure, plain_iterations, compiles=False), __doc__))
