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
from study.models.pool import build_model

__all__ = ["FeatureSource", "extract_features", "record_learning", "train_plainly"]

FeatureSource = Literal["trained", "random", "pixels"]

LEARNING_RATE = 0.01
MOMENTUM = 0.9


def extract_features(
    task: Task, source: FeatureSource, generators: Generators, *, num_epochs: int, batch_size: int
) -> Tensor:
    """Features of every training image.

    Args:
        task: gives images and network.
        source: ``trained`` is a network of the task trained on all training images
            (:func:`train_plainly`), ``random`` a fresh one, ``pixels`` none at all.
        generators: ``networks`` and ``batches`` are used.
        num_epochs: of training.
        batch_size: of training.

    Returns:
        [n, d] float32 on the CPU: what the classifier sees in evaluation mode, or the normalised pixels.

    Raises:
        ConfigError: training diverged.
    """
    images = task.train.images
    if source == "pixels":
        return images.flatten(1).cpu()
    if source == "trained":
        *_, (network, _) = train_plainly(task, generators, num_epochs=num_epochs, batch_size=batch_size)
    else:
        network = _fresh_network(task, generators)
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

    SGD with learning rate 0.01 and momentum 0.9, cross-entropy on hard labels; no schedule, weight decay
    or augmentation. Every epoch is a fresh permutation, and its last batch may be short.

    Args:
        task: gives images, network, device and precision.
        generators: ``networks`` and ``batches`` are used.
        num_epochs: passes over the training images.
        batch_size: images a step.

    Yields:
        The network, the same each time, and whether it classified each image correctly when the epoch
        showed it, before learning from it: [n] bool on the CPU.
    """
    images, labels = task.train.images, task.train.labels
    network = _fresh_network(task, generators)
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


def record_learning(task: Task, generators: Generators, *, num_epochs: int, batch_size: int) -> Tensor:
    """Which images were classified correctly in every epoch of :func:`train_plainly`.

    Args:
        task: gives images and network.
        generators: ``networks`` and ``batches`` are used.
        num_epochs: of training.
        batch_size: of training.

    Returns:
        [epochs, n] bool on the CPU.
    """
    training = train_plainly(task, generators, num_epochs=num_epochs, batch_size=batch_size)
    return torch.stack([correct for _, correct in training])


def _fresh_network(task: Task, generators: Generators) -> Network:
    train = task.train
    return build_model(
        task.model, train.image_shape, train.num_classes, generators["networks"], task.compute.device
    )
