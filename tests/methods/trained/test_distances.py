"""The characteristic function against its definition in complex numbers, and where it is blind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from study.core.errors import ShapeError
from study.methods.trained.distances import WithVotes, characteristic_distance, surprise, waves


def points(seed: int, number: int = 12, width: int = 6) -> Tensor:
    return torch.randn(number, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def frequencies(number: int = 9, width: int = 6) -> Tensor:
    return points(7, number, width)


def function(embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part [1, J] of the characteristic function of one class."""
    cosines, sines = waves(embedding, frequencies())
    return cosines.mean(0, keepdim=True), sines.mean(0, keepdim=True)


def slow_function(embedding: Tensor) -> np.ndarray:
    rows = embedding.numpy() / np.linalg.norm(embedding.numpy(), axis=1, keepdims=True)
    return np.array([np.mean([np.exp(1j * (t @ row)) for row in rows]) for t in frequencies().numpy()])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_distance_is_that_of_amplitudes_and_phases(alpha: float) -> None:
    one, two = slow_function(points(1)), slow_function(points(2))
    amplitude = np.square(np.abs(one) - np.abs(two))
    phase = 2 * np.abs(one) * np.abs(two) * (1 - np.cos(np.angle(one) - np.angle(two)))
    slow = np.sqrt(alpha * amplitude + (1 - alpha) * phase).mean()
    found = characteristic_distance(function(points(1)), function(points(2)), alpha)
    assert float(found) == pytest.approx(slow, rel=1e-6)
    if alpha == 0.5:
        assert float(found) == pytest.approx(np.abs(one - two).mean() / math.sqrt(2), rel=1e-6)


def test_classes_add_up_and_sides_may_be_exchanged() -> None:
    one, two, three = (function(points(seed)) for seed in (1, 2, 3))
    both = characteristic_distance(
        (torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]])),
        (torch.cat([three[0], three[0]]), torch.cat([three[1], three[1]])),
    )
    apart = characteristic_distance(one, three) + characteristic_distance(three, two)
    assert float(both) == pytest.approx(float(apart), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_classes_have_no_distance_and_no_gradient(dtype: torch.dtype) -> None:
    embedding = points(1).to(dtype).requires_grad_()
    cosines, sines = waves(embedding, frequencies().to(dtype))
    made = cosines.mean(0, keepdim=True), sines.mean(0, keepdim=True)
    loss = characteristic_distance((made[0].detach(), made[1].detach()), made)
    (gradient,) = torch.autograd.grad(loss, embedding)
    assert float(loss.detach()) < 2e-3 if dtype is torch.float32 else float(loss.detach()) < 2e-6
    assert bool(gradient.isfinite().all())
    if dtype is torch.float64:
        assert float(gradient.abs().max()) < 1e-9


def test_gradient_is_that_of_finite_differences_and_finite_where_a_function_vanishes() -> None:
    real = function(points(1))
    assert torch.autograd.gradcheck(
        lambda embedding: characteristic_distance(real, function(embedding)), [points(2).requires_grad_()]
    )
    zeros = torch.zeros(1, 9, dtype=torch.float64, requires_grad=True)
    loss = characteristic_distance(real, (zeros, zeros))
    (gradient,) = torch.autograd.grad(loss, zeros)
    assert bool(gradient.isfinite().all())


def test_amplitudes_alone_are_blind_to_a_shift() -> None:
    cosines, sines = function(points(1))
    turned = (  # what adding one vector to all features does: every frequency gets a phase
        cosines * math.cos(1.0) - sines * math.sin(1.0),
        cosines * math.sin(1.0) + sines * math.cos(1.0),
    )
    assert float(characteristic_distance((cosines, sines), turned, 1.0)) < 1e-5
    assert float(characteristic_distance((cosines, sines), turned, 0.0)) > 0.1


def test_products_have_unit_deviation_whatever_the_width() -> None:
    for width in (8, 512):
        generator = torch.Generator().manual_seed(0)
        one = torch.nn.functional.normalize(torch.rand(1, width, generator=generator), dim=1)
        drawn = torch.randn(20_000, width, generator=generator)
        assert float((one @ drawn.T).std()) == pytest.approx(1, abs=0.02)
        cosines, sines = waves(5 * one, drawn[:4])
        torch.testing.assert_close(cosines.square() + sines.square(), torch.ones(1, 4))


def test_surprise_holds_the_cross_entropy_of_every_class(toy_task) -> None:
    task = toy_task()
    network, labels = task.network(), task.train.labels
    with torch.no_grad():
        (found,) = surprise(network, task.train.images)
        logits = network(task.train.images).double().numpy()
    slow = [np.log(np.exp(row - row.max()).sum()) - (row - row.max())[label]
            for row, label in zip(logits, labels.tolist(), strict=True)]  # fmt: skip
    np.testing.assert_allclose(found.gather(1, labels[:, None]).flatten().numpy(), slow, rtol=1e-4)


def test_votes_are_counted_where_no_gradient_is_wanted(toy_task) -> None:
    task, images = toy_task(), toy_task().train.images[:5]
    network = task.network()
    embedding, votes = WithVotes()(network, images)
    assert torch.equal(embedding, network.embed(images))
    assert votes.argmax(1).tolist() == network(images).argmax(1).tolist()
    assert votes.sum(1).tolist() == [1] * 5
    assert len(WithVotes()(network, images.clone().requires_grad_())) == 1


def test_parts_of_other_shapes_are_named() -> None:
    one = function(points(1))
    with pytest.raises(ShapeError, match=r"\(1, 9\).*\(1, 8\)"):
        characteristic_distance(one, (one[0], one[1][:, :8]))
