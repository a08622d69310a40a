from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from study.core.records import ImageDataset
from study.methods.initialize import REAL_NOISE_STD, initialize, sample_real

Factory = Callable[..., ImageDataset]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_real_images_are_different_training_images_of_their_class(toy_dataset: Factory) -> None:
    train = toy_dataset()
    images, labels = initialize("real", train, 9, seeded())
    positions = sample_real(train, 9, seeded())
    assert torch.equal(images, train.images[positions])
    assert torch.equal(labels, train.labels[positions])
    assert len(set(positions.tolist())) == 27
    images.zero_()
    assert train.images.abs().min() > 0


def test_noise_is_standard_normal(toy_dataset: Factory) -> None:
    images, labels = initialize("noise", toy_dataset((90, 90), (3, 16, 16)), 90, seeded())
    assert images.dtype is torch.float32
    assert abs(float(images.mean())) < 0.01
    assert abs(float(images.std()) - 1) < 0.01
    assert labels.tolist() == [0] * 90 + [1] * 90


def test_real_plus_noise_is_not_clamped(toy_dataset: Factory) -> None:
    train = toy_dataset((60, 60), (1, 16, 16))
    noisy, _ = initialize("real+noise", train, 60, seeded())
    real, _ = initialize("real", train, 60, seeded())
    noise = noisy - real
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - REAL_NOISE_STD) < 0.02
    assert noisy.min() < 0
    assert noisy.max() > 1


@pytest.mark.parametrize("init", ["real", "noise", "real+noise"])
def test_a_seed_decides_every_number(init: str, toy_dataset: Factory) -> None:
    train = toy_dataset()
    first = initialize(init, train, 2, seeded(1))[0]  # type: ignore[arg-type]
    assert torch.equal(first, initialize(init, train, 2, seeded(1))[0])  # type: ignore[arg-type]
    assert not torch.equal(first, initialize(init, train, 2, seeded(2))[0])  # type: ignore[arg-type]
