from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study.core.config import build
from study.core.errors import ConfigError
from study.core.records import ImageDataset
from study.core.seeding import Generators
from study.methods.base import METHODS
from study.methods.matching.inner_training import InnerTraining
from study.methods.matching.real_batches import ClassBatches, ClusterBatches, class_batches
from study.methods.matching.synthetic_images import MatchingConfig

Factory = Callable[..., Any]
MATCHING = ("datadam", "dc", "dm", "dsa")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def groups() -> ImageDataset:
    """Two classes of 12, 6 and 2, and of 5 and 5 images that are copies of a picture, but for a little noise."""
    pictures = 3 * torch.randn(5, 1, 20, 20, generator=seeded(1))
    of_picture = torch.arange(5).repeat_interleave(torch.tensor([12, 6, 2, 5, 5]))
    of_picture = of_picture[torch.randperm(30, generator=seeded(2))]
    images = pictures[of_picture] + 0.1 * torch.randn(30, 1, 20, 20, generator=seeded(3))
    return ImageDataset(images, (of_picture > 2).long(), ("three", "two"))


def positions_of(batch: Tensor, dataset: ImageDataset) -> Tensor:
    found = (batch[:, None] == dataset.images[None]).flatten(2).all(2)
    assert (found.sum(1) == 1).all()
    return found.int().argmax(1)


def slow_k_means(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Lloyd's algorithm: the centres at which it stays."""
    while True:
        nearest = np.array(
            [min(range(len(centres)), key=lambda k: ((row - centres[k]) ** 2).sum()) for row in rows]
        )
        moved = np.array([rows[nearest == k].mean(axis=0) for k in range(len(centres))])
        if np.allclose(moved, centres):
            return moved
        centres = moved


def test_a_batch_has_an_image_near_every_centre(groups: ImageDataset) -> None:
    batches = ClusterBatches(groups, 3, seed=0)
    batch = batches.draw(seeded())
    assert batches.labels[:3].tolist() == [0, 0, 0]
    rows = groups.images[groups.labels == 0].flatten(1).double().numpy()
    drawn = batch[batches.labels == 0].flatten(1).double().numpy()
    centres = slow_k_means(rows, drawn)
    between = min(np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i])
    assert all(
        np.linalg.norm(row - centre) < 0.2 * between for row, centre in zip(drawn, centres, strict=True)
    )
    # Each weighs as much as there are images around its centre.
    shares = [int((np.linalg.norm(rows - centre, axis=1) < 0.2 * between).sum()) / 20 for centre in centres]
    assert batches.weights is not None
    assert batches.weights[:3].tolist() == pytest.approx(shares)
    assert sorted(shares) == [0.1, 0.3, 0.6]


def test_every_image_is_drawn_and_counts_alike_on_average(groups: ImageDataset) -> None:
    batches, generator = ClusterBatches(groups, 3, seed=0), seeded()
    counted = torch.zeros(30)
    for _ in range(3000):
        positions = positions_of(batches.draw(generator), groups)
        assert torch.equal(groups.labels[positions], batches.labels)
        counted.index_add_(0, positions, batches.averaging.sum(0))
    # In 3000 batches an image of 20 in its class counts 3000 / 20 times, one of ten 300 times.
    for label, expected in ((0, 150.0), (1, 300.0)):
        of_class = counted[groups.labels == label]
        assert torch.allclose(of_class, torch.full_like(of_class, expected), rtol=0.25), of_class


def test_means_of_batches_vary_less_than_those_of_random_ones(groups: ImageDataset) -> None:
    wanted = torch.stack([groups.images[groups.labels == label].mean(0).flatten() for label in range(2)])

    def error(batches: ClassBatches) -> float:
        generator = seeded(7)
        draws = [batches.averaging @ batches.draw(generator).flatten(1) for _ in range(50)]
        return float(torch.stack([(drawn - wanted).square().sum() for drawn in draws]).mean())

    assert error(ClusterBatches(groups, 3, seed=0)) < 0.05 * error(ClassBatches(groups, 3))


def test_a_class_gives_all_it_has_where_that_is_less(groups: ImageDataset) -> None:
    batches = ClusterBatches(groups, 15, seed=0)
    assert batches.labels.bincount()[1] == 10
    drawn = positions_of(batches.draw(seeded())[batches.labels == 1], groups)
    assert sorted(drawn.tolist()) == (groups.labels == 1).nonzero().flatten().tolist()
    assert torch.allclose(batches.averaging.sum(1), torch.ones(2))


def test_copies_make_fewer_clusters() -> None:
    images = torch.zeros(8, 1, 4, 4)
    images[6:] = 1.0
    batches = ClusterBatches(ImageDataset(images, torch.zeros(8, dtype=torch.int64), ("one",)), 5, seed=0)
    assert len(batches.labels) <= 5
    mean = batches.averaging @ batches.draw(seeded()).flatten(1)
    assert torch.allclose(mean, torch.full((1, 16), 0.25))


def test_clusters_depend_on_the_seed_alone(groups: ImageDataset) -> None:
    generators = Generators(3)
    first = class_batches("k-means", groups, 4, generators)
    generators["batches"].manual_seed(99)
    again = class_batches("k-means", groups, 4, generators)
    assert torch.equal(first.draw(seeded()), again.draw(seeded()))
    other = class_batches("k-means", groups, 4, Generators(4))
    draws = [one.draw(seeded(5)) for one in (first, other)]
    assert draws[0].shape != draws[1].shape or not torch.equal(*draws)


@pytest.mark.parametrize("name", MATCHING)
def test_each_method_takes_either_rule(name: str, toy_distill: Factory) -> None:
    final = [toy_distill(name, batch_real=4, real_batches=rule)[1].images for rule in ("random", "k-means")]
    assert not torch.equal(*final)
    assert torch.equal(final[1], toy_distill(name, batch_real=4, real_batches="k-means")[1].images)
    # Where a batch is the whole class, nothing is left to choose.
    whole = [toy_distill(name, batch_real=14, real_batches=rule)[1].images for rule in ("random", "k-means")]
    torch.testing.assert_close(*whole, atol=1e-3, rtol=1e-3)


def test_gradients_weigh_the_images(toy_task: Factory) -> None:
    task = toy_task()
    training = InnerTraining(task, 0.01, 8)
    training.redraw(seeded())
    images, labels = task.train.images[:5], task.train.labels[:5]
    weights = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25])
    given = training.gradients(images, labels, weights)
    parameters = dict(training.network.named_parameters())
    slow = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for image, label, weight in zip(images, labels, weights, strict=True):
        loss = functional.cross_entropy(training.network(image[None]), label[None])
        for name, gradient in zip(
            parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True
        ):
            slow[name] += weight * gradient
    for name, gradient in given.items():
        torch.testing.assert_close(gradient, slow[name], atol=1e-5, rtol=1e-4)


def test_an_unknown_rule_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"distill\.real_batches = 'nearest': .*'random' or 'k-means'"):
        build(MatchingConfig, {"real_batches": "nearest"}, "distill")


def test_published_is_random() -> None:
    assert {METHODS[name].Config().real_batches for name in MATCHING} == {"random"}
