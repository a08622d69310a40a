"""Real images that a distilled set stands beside: random draws, all of them, the majority class."""

from __future__ import annotations

import torch

from study.core.errors import ConfigError
from study.core.records import ImageDataset, SyntheticSet
from study.core.seeding import Generators


def random_real_sets(
    train: ImageDataset, ipc: int, num_draws: int, generators: Generators
) -> list[SyntheticSet]:
    """Independent draws of ``ipc`` real images a class, without replacement, grouped by class.

    Draw i depends on ``generators`` and i alone.

    Raises:
        ConfigError: ``ipc`` is below 1 or above the smallest class, or ``num_draws`` is below 1.
    """
    counts = train.class_counts()
    if not 1 <= ipc <= min(counts):
        raise ConfigError(f"ipc = {ipc}: must be between 1 and {min(counts)}, the size of the smallest class")
    if num_draws < 1:
        raise ConfigError(f"num_draws = {num_draws}: must be at least 1")
    sets = []
    by_class = [positions.cpu() for positions in train.class_indices()]
    for index in range(num_draws):
        generator = generators.child("random", index)["selection"]
        orders = [
            torch.randperm(len(positions), generator=generator, device=generator.device).cpu()
            for positions in by_class
        ]
        chosen = [positions[order[:ipc]] for positions, order in zip(by_class, orders, strict=True)]
        picked = train.subset(torch.cat(chosen).to(train.labels.device))
        sets.append(SyntheticSet(picked.images, picked.labels, train.class_names))
    return sets


def full_set(train: ImageDataset) -> SyntheticSet:
    """A whole real dataset as a set to evaluate, grouped by class."""
    picked = train.subset(torch.argsort(train.labels, stable=True))
    return SyntheticSet(picked.images, picked.labels, train.class_names)


def majority_rate(real: ImageDataset) -> float:
    """Accuracy of always naming the commonest class; the balanced accuracy of that is 1 / classes."""
    counts = real.class_counts()
    return max(counts) / sum(counts)
