"""Pixels, random and trained features, and the training they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.methods.coresets import features as coreset_features
from study.methods.coresets.features import extract_features, train_plainly
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, build_model

Factory = Callable[..., Any]


def extract(task: Any, source: Any, seed: int = 0, num_epochs: int = 3) -> torch.Tensor:
    return extract_features(task, source, Generators(seed), num_epochs=num_epochs, batch_size=8)


def test_pixels_are_the_images(toy_task: Factory) -> None:
    task = toy_task()
    assert torch.equal(extract(task, "pixels"), task.train.images.flatten(1))


def test_random_features_are_those_of_a_fresh_network(toy_task: Factory) -> None:
    task = toy_task()
    network = build_model(task.model, (1, 8, 8), 3, Generators(4)["networks"]).eval()
    expected = network.embed(task.train.images).detach()
    torch.testing.assert_close(extract(task, "random", seed=4), expected)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_trained_features_are_of_a_network_in_evaluation_mode(norm: Any, toy_task: Factory) -> None:
    task = toy_task(model=ModelConfig(depth=2, width=8, norm=norm))
    *_, (network, _) = train_plainly(task, Generators(0), num_epochs=3, batch_size=8)
    features = extract(task, "trained")
    assert not features.requires_grad
    expected = torch.cat([network.eval().embed(one[None]).detach() for one in task.train.images])
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)


def test_the_three_sources_differ_and_seeds_matter_to_networks_alone(toy_task: Factory) -> None:
    task = toy_task()
    assert not torch.allclose(extract(task, "random"), extract(task, "trained"))
    for source in ("random", "trained"):
        assert torch.equal(extract(task, source), extract(task, source))
        assert not torch.allclose(extract(task, source), extract(task, source, seed=1))
    assert torch.equal(extract(task, "pixels"), extract(task, "pixels", seed=1))


def test_features_do_not_depend_on_the_chunks(toy_task: Factory, set_room: Factory) -> None:
    whole = extract(toy_task(), "random")
    set_room("coreset features", 5 * 64)
    torch.testing.assert_close(extract(toy_task(), "random"), whole)


def test_training_is_plain_sgd_on_every_image_once_an_epoch(toy_task: Factory) -> None:
    task = toy_task()
    train, generators = task.train, Generators(2)
    network = build_model(task.model, (1, 8, 8), 3, generators["networks"])
    velocities = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for _ in range(2):
        order = torch.randperm(len(train), generator=generators["batches"])
        for start in range(0, len(train), 8):
            some = order[start : start + 8]
            loss = torch.nn.functional.cross_entropy(network(train.images[some]), train.labels[some])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, velocity, gradient in zip(
                    network.parameters(), velocities, gradients, strict=True
                ):
                    velocity.mul_(0.9).add_(gradient)
                    parameter.sub_(0.01 * velocity)
    *_, (trained, _) = train_plainly(task, Generators(2), num_epochs=2, batch_size=8)
    torch.testing.assert_close(flatten_parameters(trained), flatten_parameters(network))


def test_training_learns_and_its_record_is_taken_before_each_update(toy_task: Factory) -> None:
    task = toy_task()
    training = train_plainly(task, Generators(0), num_epochs=5, batch_size=8)
    correct = torch.stack([correct for _, correct in training])
    assert correct.shape == (5, len(task.train))
    assert float(correct[-1].float().mean()) > 0.95
    # One batch an epoch: the first record is that of the fresh network.
    untrained = build_model(task.model, (1, 8, 8), 3, Generators(0)["networks"])
    expected = untrained(task.train.images).argmax(1) == task.train.labels
    training = train_plainly(task, Generators(0), num_epochs=10, batch_size=len(task.train))
    whole = [correct for _, correct in training]
    assert torch.equal(whole[0], expected)
    assert not torch.equal(whole[0], whole[-1])


def test_features_that_are_not_numbers_are_refused(
    toy_task: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coreset_features, "LEARNING_RATE", 1e20)
    with pytest.raises(ConfigError, match=r"model 'convnet' are not finite.*'random' or 'pixels'"):
        extract(toy_task(model=ModelConfig(depth=2, width=8, norm="none")), "trained")
