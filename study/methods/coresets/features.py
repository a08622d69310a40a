"""What coresets measure distances in: pixels, or features of a random or a trained network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from study.core.chunks import fitting
from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.methods.base import Task
from study.models.network import Network

FeatureSource = Literal["trained", "random", "pixels"]

LEARNING_RATE = 0.01
MOMENTUM = 0.9


def extract_features(
    task: Task, source: FeatureSource, generators: Generators, *, num_epochs: int, batch_size: int
) -> Tensor:
    """Features [n, d] float32 of every training image on the CPU; ConfigError where training diverged.

    ``trained`` is what the classifier of a network sees that :func:`train_plainly` trained, ``random`` that
    of a fresh one, ``pixels`` the normalised pixels. Generators ``networks`` and ``batches`` are used.
    """
    images = task.train.images
    if source == "pixels":
        return images.flatten(1).cpu()
    if source == "trained":
        *_, (network, _) = train_plainly(task, generators, num_epochs=num_epochs, batch_size=batch_size)
    else:
        network = task.network(generators["networks"])
    size = fitting("coreset features", images.shape[2] * images.shape[3], images.device)
    with torch.no_grad():
        features = torch.cat([network.eval().embed(chunk).cpu() for chunk in torch.split(images, size)])
    if not bool(features.isfinite().all()):
        raise ConfigError(
            f"features of model {task.model.name!r} are not finite; choose distill.source 'random' or 'pixels'"
        )
    return features


def train_plainly(
    task: Task, generators: Generators, *, num_epochs: int, batch_size: int
) -> Iterator[tuple[Network, Tensor]]:
    """Train a network of the task on all training images, and yield after every epoch.

    SGD with learning rate 0.01 and momentum 0.9, cross-entropy on hard labels, nothing else. Every epoch is a
    fresh permutation, and its last batch may be short. Yields the network, the same each time, and [n] bool
    on the CPU: whether it classified each image correctly when the epoch showed it, before learning from it.
    """
    images, labels = task.train.images, task.train.labels
    network = task.network(generators["networks"])
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    source = generators["batches"]
    for _ in range(num_epochs):
        network.train()
        correct = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        order = torch.randperm(len(labels), generator=source, device=source.device).to(labels.device)
        for chosen in torch.split(order, batch_size):
            with task.compute.autocast():
                logits = network(images[chosen])
            correct[chosen] = logits.detach().argmax(1) == labels[chosen]
            optimizer.zero_grad()
            functional.cross_entropy(logits.float(), labels[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield network, correct.cpu()
