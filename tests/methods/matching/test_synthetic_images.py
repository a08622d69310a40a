from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from study.core.errors import DivergedError
from study.methods.matching.real_batches import ClassBatches
from study.methods.matching.synthetic_images import MatchingConfig, SyntheticImages

Factory = Callable[..., Any]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_batch_holds_different_images_of_every_class(toy_dataset: Factory) -> None:
    train = toy_dataset((14, 9, 11))
    batches = ClassBatches(train, 10)
    assert batches.labels.tolist() == [0] * 10 + [1] * 9 + [2] * 10
    images, generator = [], seeded()
    for _ in range(40):
        batch = batches.draw(generator)
        found = (batch[:, None] == train.images[None]).flatten(2).all(2)
        assert (found.sum(1) == 1).all()
        positions = found.int().argmax(1)
        assert torch.equal(train.labels[positions], batches.labels)
        assert len(positions.unique()) == len(positions)
        images.append(positions)
    # Every image turns up about equally often: 40 batches take 10 of 14 images of the first class.
    counts = torch.cat(images).bincount(minlength=len(train))[train.labels == 0]
    assert counts.sum() == 400
    assert counts.min() > 18
    assert counts.max() < 38


def test_averaging_weighs_each_class_by_its_own_size(toy_dataset: Factory) -> None:
    batches = ClassBatches(toy_dataset((14, 9, 11)), 10)
    values = torch.arange(29.0)[:, None]
    expected = [values[:10].mean(), values[10:19].mean(), values[19:].mean()]
    assert torch.allclose(batches.averaging @ values, torch.stack(expected)[:, None])


def test_steps_follow_sgd_with_momentum(toy_task: Factory) -> None:
    synthetic = SyntheticImages(toy_task(), MatchingConfig(init="noise", image_lr=0.1), seeded())
    start = synthetic.pixels.detach().clone()
    for iteration in (1, 2):
        progress = synthetic.step({"match/loss": 3 * synthetic.pixels.sum()}, iteration)
    # Velocity is 3, then 3 + 0.5 * 3.
    assert torch.allclose(progress.snapshot().images, start - 0.1 * (3 + 4.5), atol=1e-6)


def test_adamw_steps_by_its_rate_and_decays_pixels(toy_task: Factory) -> None:
    settings = MatchingConfig(optimizer="adamw", image_lr=0.1, weight_decay=0.5)
    synthetic = SyntheticImages(toy_task(), settings, seeded())
    start = synthetic.pixels.detach().clone()
    progress = synthetic.step({"match/loss": 1e-3 * synthetic.pixels.sum()}, 1)
    # Decay comes first; the first step is then as long as the rate, however small the loss.
    torch.testing.assert_close(progress.snapshot().images, start * (1 - 0.1 * 0.5) - 0.1, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_update(bad: float, toy_task: Factory) -> None:
    synthetic = SyntheticImages(toy_task(), MatchingConfig(image_lr=0.1, momentum=0.0), seeded())
    start = synthetic.pixels.detach().clone()
    with pytest.raises(DivergedError, match="match/loss is not finite at iteration 7") as caught:
        synthetic.step({"match/loss": synthetic.pixels.sum() * bad}, 7)
    assert caught.value.iteration == 7
    assert torch.equal(start, synthetic.pixels)


def test_runaway_pixels_stop_the_run(toy_task: Factory) -> None:
    synthetic = SyntheticImages(toy_task(), MatchingConfig(image_lr=1e6, momentum=0.0), seeded())
    with pytest.raises(DivergedError, match=r"largest pixel is 1e\+06, beyond 10000, at iteration 2"):
        synthetic.step({"match/loss": synthetic.pixels.sum()}, 2)
