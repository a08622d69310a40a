"""FRePo: the first loss by hand, the life of the pool, and what its labels are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from study.core.config import build
from study.core.seeding import Generators
from study.methods.frepo import FRePo, FRePoConfig, NetworkPool
from study.methods.matching.real_batches import ClassBatches

Factory = Callable[..., Any]


def frepo(**settings: Any) -> FRePo:
    values = {"num_iterations": 4, "batch_real": 24, "num_networks": 2, "image_lr": 0.05, **settings}
    return FRePo(build(FRePoConfig, values))


def test_published_values_are_the_defaults() -> None:
    config = FRePoConfig()
    assert (config.num_iterations, config.image_lr, config.batch_real) == (500_000, 3e-4, 1024)
    assert (config.num_networks, config.num_model_steps, config.model_lr) == (10, 100, 3e-4)


@pytest.mark.parametrize("mirror", [False, True])
def test_first_loss_equals_one_worked_out_in_float64(toy_task: Factory, mirror: bool) -> None:
    task = toy_task()
    steps = frepo(mirror=mirror, label_scale=2.0).distill(task, Generators(5))
    start = next(steps).snapshot()
    losses = next(steps).losses

    generators = Generators(5)
    networks = [task.network(generators["networks"]) for _ in range(2)]
    index = int(torch.randint(2, (1,), generator=generators["pool"]))
    batch = ClassBatches(task.train, 8)
    with torch.no_grad():
        made = networks[index].eval().embed(start.images).double().numpy()
        flipped = networks[index].embed(start.images.flip(3)).double().numpy()
        real = networks[index].embed(batch.draw(generators["batches"])).double().numpy()
    assert start.logits is not None
    y = (start.logits / 2.0).double().numpy()
    np.testing.assert_allclose(y, (np.eye(3).repeat(2, axis=0) - 1 / 3) / np.sqrt(0.3), rtol=1e-5)
    if mirror:
        made, y = np.concatenate([made, flipped]), np.concatenate([y, y])
    kernel = made @ made.T
    kernel += 1e-6 * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    predicted = real @ made.T @ np.linalg.solve(kernel, y)
    error = predicted - (np.eye(3)[batch.labels.numpy()] - 1 / 3)
    slow = np.mean([0.5 * np.square(row).sum() for row in error])  # 8 of every class, so a plain mean
    assert float(losses["match/prediction"]) == pytest.approx(slow, rel=2e-3)
    assert float(losses["match/loss"]) == pytest.approx(slow + float(losses["match/margin"]), rel=2e-3)


def test_classes_count_the_same_where_they_have_few_images(toy_task: Factory) -> None:
    task = toy_task()
    batch = ClassBatches(task.train, 14)  # 14, 9 and 11 images
    weights = batch.averaging.mean(0)
    sums = [float(weights[batch.labels == label].sum()) for label in range(3)]
    assert sums == pytest.approx([1 / 3] * 3)


def test_ages_begin_apart_and_a_network_is_drawn_anew_beyond_its_steps(toy_task: Factory) -> None:
    task, generators = toy_task(), Generators(0)
    method = frepo(num_networks=3, num_model_steps=7)
    pool = NetworkPool(method.config, task, generators["networks"])
    assert pool.ages == [0, 2, 4]
    synthetic = _Set(task)
    seen = []
    for _ in range(11):
        before = [parameter.clone() for parameter in pool.networks[2].parameters()]
        others = [parameter.clone() for parameter in pool.networks[0].parameters()]
        pool.advance(2, synthetic, generators)
        moved = [
            float((a - b).detach().abs().max())
            for a, b in zip(pool.networks[2].parameters(), before, strict=True)
        ]
        seen.append((pool.ages[2], max(moved) > 0.01))
        assert all(torch.equal(a, b) for a, b in zip(pool.networks[0].parameters(), others, strict=True))
    # Steps of Adam at 0.0003 are small, a fresh draw is not.
    assert seen == [(age, False) for age in (5, 6, 7, 8)] + [(0, True)] + [
        (age, False) for age in range(1, 7)
    ]


def test_steps_make_a_network_fit_the_targets(toy_task: Factory) -> None:
    task, generators = toy_task(), Generators(0)
    pool = NetworkPool(
        frepo(num_networks=1, num_model_steps=60, model_lr=3e-3).config, task, generators["networks"]
    )
    synthetic = _Set(task)

    def error() -> float:
        return float((pool.networks[0](synthetic.pixels) - synthetic.targets).detach().square().mean())

    before = error()
    for _ in range(60):
        pool.advance(0, synthetic, generators)
    assert error() < 0.3 * before


def test_no_gradient_reaches_parameters_or_the_real_images(
    toy_task: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[NetworkPool] = []
    advance = NetworkPool.advance

    def watch(self: NetworkPool, *rest: Any) -> None:
        assert all(parameter.grad is None for network in self.networks for parameter in network.parameters())
        pools.append(self)
        advance(self, *rest)

    monkeypatch.setattr(NetworkPool, "advance", watch)
    task = toy_task()
    list(frepo().distill(task, Generators(0)))
    assert len(pools) == 4
    assert task.train.images.grad is None


def test_labels_are_learned_as_scaled_logits_or_stay_hard(toy_task: Factory) -> None:
    first, *_, last = [progress.snapshot() for progress in frepo().distill(toy_task(), Generators(0))]
    assert not torch.equal(first.logits, last.logits)
    assert last.logits.argmax(1).tolist() == last.labels.tolist()
    doubled = [one.snapshot() for one in frepo(label_scale=10.0).distill(toy_task(), Generators(0))][-1]
    torch.testing.assert_close(doubled.logits, 2 * last.logits)
    assert torch.equal(doubled.images, last.images)
    hard = list(frepo(learn_labels=False).distill(toy_task(), Generators(0)))
    assert hard[-1].snapshot().logits is None
    assert "match/margin" not in hard[-1].losses


class _Set:
    """What the pool reads of a set."""

    def __init__(self, task: Any) -> None:
        self.pixels = task.train.images[:6]
        self.targets = torch.eye(3)[task.train.labels[:6]] - 1 / 3
