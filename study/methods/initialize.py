"""Where synthetic images start."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from study.core.errors import ConfigError
from study.core.records import ImageDataset

Initialization = Literal["real", "noise", "real+noise"]

REAL_NOISE_STD = 0.8
"""Standard deviation of the noise of ``real+noise``, in units of the normalised pixels."""


def initialize(
    init: Initialization, train: ImageDataset, ipc: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the starting point of a synthetic set of ``ipc`` images per class.

    ``real`` copies training images, drawn without replacement within each class; ``noise`` is N(0, 1) in
    normalised space; ``real+noise`` adds N(0, 0.8²) to real images.

    Gives images [classes · ipc, C, H, W] float32, grouped by class, and their labels [classes · ipc] int64,
    new and without gradient on the device of ``train``. Raises ConfigError where ``ipc`` is below 1, or
    larger than the smallest class.

    Source: Zhao and Bilen 2021 (DSA, DM). ``real+noise`` is the course's Gaussian initialisation, without its
        clamp to [0, 1], which cuts off every normalised pixel that is darker than the mean.
    """
    labels = synthetic_labels(train, ipc)
    if init == "noise":
        return _noise((len(labels), *train.image_shape), train, generator), labels
    images = train.images[sample_real(train, ipc, generator)]
    if init == "real+noise":
        images += REAL_NOISE_STD * _noise(tuple(images.shape), train, generator)
    return images, labels


def sample_real(train: ImageDataset, ipc: int, generator: torch.Generator) -> Tensor:
    """Positions [classes · ipc] of training images, ``ipc`` different ones a class, grouped by class.

    Raises ConfigError as :func:`initialize` does.
    """
    _check_ipc(train, ipc)
    chosen = []
    for indices in train.class_indices():
        order = torch.randperm(len(indices), generator=generator, device=generator.device)
        chosen.append(indices[order[:ipc].to(indices.device)])
    return torch.cat(chosen)


def synthetic_labels(train: ImageDataset, ipc: int) -> Tensor:
    """Labels [classes · ipc] int64, ascending, on the device of the training labels; raises ConfigError likewise."""
    _check_ipc(train, ipc)
    return torch.arange(train.num_classes, device=train.labels.device).repeat_interleave(ipc)


def _check_ipc(train: ImageDataset, ipc: int) -> None:
    if ipc < 1:
        raise ConfigError(f"ipc = {ipc}: must be at least 1")
    counts = train.class_counts()
    smallest = min(range(train.num_classes), key=counts.__getitem__)
    if ipc > counts[smallest]:
        name = train.class_names[smallest]
        raise ConfigError(f"ipc = {ipc}: class {name!r} has {counts[smallest]} training images only")


def _noise(shape: tuple[int, ...], train: ImageDataset, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).to(train.images.device)
