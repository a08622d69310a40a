"""Every coreset: real images of their class, none twice; and what each choice looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from study.core.config import build
from study.core.errors import ConfigError
from study.core.records import ImageDataset
from study.core.seeding import Generators
from study.methods.base import METHODS
from study.methods.coresets.distances import choose_by_herding
from study.methods.coresets.features import train_plainly
from study.methods.coresets.forgetting import count_forgetting

Factory = Callable[..., Any]

NAMES = ["random", "herding", "k-center", "k-means", "forgetting"]
BY_FEATURES = ["herding", "k-center", "k-means"]


def positions_of(chosen: Tensor, train: ImageDataset) -> Tensor:
    found = (chosen[:, None] == train.images[None]).flatten(2).all(2)
    assert (found.sum(1) == 1).all()
    return found.int().argmax(1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ipc", [1, 4, 9])
def test_images_are_real_different_and_of_their_class(
    name: str, ipc: int, toy_distill: Factory, toy_task: Factory
) -> None:
    train = toy_task().train
    everything, chosen = toy_distill(name, task=toy_task(ipc=ipc))
    assert len(everything) == 1
    positions = positions_of(chosen.images, train)
    assert len(positions.unique()) == 3 * ipc
    assert torch.equal(train.labels[positions], chosen.labels)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{"num_iterations": 5}, {"init": "noise"}])
def test_what_would_do_nothing_is_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"distill.{next(iter(settings))}"):
        build(METHODS[name].Config, settings, "distill")


def test_forgetting_needs_two_epochs_to_forget() -> None:
    with pytest.raises(ConfigError, match=r"distill\.num_epochs = 1"):
        build(METHODS["forgetting"].Config, {"num_epochs": 1}, "distill")


@pytest.mark.parametrize("name", BY_FEATURES)
def test_the_sources_of_features_lead_to_different_sets(
    name: str, toy_distill: Factory, digest: Factory
) -> None:
    digests = {digest(toy_distill(name, source=source)[1]) for source in ("trained", "random", "pixels")}
    assert len(digests) == 3


@pytest.mark.parametrize("name", ["herding", "k-center"])
def test_on_pixels_no_seed_matters(name: str, toy_distill: Factory, digest: Factory) -> None:
    first, second = (toy_distill(name, seed=seed, source="pixels")[1] for seed in (1, 2))
    assert digest(first) == digest(second)


def test_herding_on_pixels_herds_each_class_for_itself(toy_distill: Factory, toy_task: Factory) -> None:
    task = toy_task(ipc=5)
    _, chosen = toy_distill("herding", task=task, source="pixels")
    for label in range(3):
        pixels = task.train.images[task.train.labels == label]
        expected = pixels[choose_by_herding(pixels.flatten(1), 5)]
        assert torch.equal(chosen.images[chosen.labels == label], expected)


def test_forgetting_takes_the_most_forgotten_of_each_class(toy_distill: Factory, toy_task: Factory) -> None:
    task = toy_task(ipc=3)
    _, chosen = toy_distill("forgetting", task=task, seed=1)
    training = train_plainly(task, Generators(1), num_epochs=2, batch_size=4)
    events = count_forgetting(torch.stack([correct for _, correct in training]))
    assert int(events.max()) > 0
    positions = positions_of(chosen.images, task.train)
    for label in range(3):
        taken = events[positions[chosen.labels == label]].tolist()
        assert taken == events[task.train.labels == label].sort(descending=True).values[:3].tolist()
