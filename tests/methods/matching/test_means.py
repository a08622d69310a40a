"""The shared loop of DM and DataDAM: how long a network and a target are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from study.core.config import build
from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig, augment, draw
from study.methods.base import METHODS
from study.methods.dm import DM, DMConfig
from study.methods.matching.random_features import RandomFeatures
from study.methods.matching.real_batches import ClassBatches
from study.models.pool import build_model

Factory = Callable[..., Any]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run draws, in order: ``network`` and ``batch``."""
    told: list[str] = []
    redraw, batch = RandomFeatures.redraw, ClassBatches.draw

    def note_redraw(self: RandomFeatures, generator: torch.Generator) -> None:
        told.append("network")
        redraw(self, generator)

    def note_batch(self: ClassBatches, generator: torch.Generator) -> Tensor:
        told.append("batch")
        return batch(self, generator)

    monkeypatch.setattr(RandomFeatures, "redraw", note_redraw)
    monkeypatch.setattr(ClassBatches, "draw", note_batch)
    return told


def run(name: str, task: Any, events: list[str], **settings: Any) -> list[str]:
    method = METHODS[name]
    config = build(method.Config, {"num_iterations": 6, "batch_real": 6, **settings})
    for progress in method(config).distill(task, Generators(0)):
        events.append(str(progress.iteration))
    return events


@pytest.mark.parametrize("name", ["dm", "datadam"])
def test_published_is_a_network_and_a_batch_an_update(
    name: str, toy_task: Factory, events: list[str]
) -> None:
    assert run(name, toy_task(), events, num_iterations=2) == [
        "0",
        "network",
        "batch",
        "1",
        "network",
        "batch",
        "2",
    ]


@pytest.mark.parametrize("name", ["dm", "datadam"])
def test_a_network_meets_several_batches_and_a_batch_several_updates(
    name: str, toy_task: Factory, events: list[str]
) -> None:
    assert run(name, toy_task(), events, iterations_per_network=2, image_steps=2) == [
        "0", "network", "batch", "1", "2", "batch", "3", "4", "network", "batch", "5", "6",
    ]  # fmt: skip


def test_updates_towards_one_target_are_those_of_a_plain_loop(toy_task: Factory) -> None:
    task = toy_task()
    config = DMConfig(num_iterations=3, batch_real=6, image_steps=3, image_lr=0.3, momentum=0.0)
    everything = [progress.snapshot() for progress in DM(config).distill(task, Generators(4))]
    generators = Generators(4)
    network = build_model(task.model, (1, 8, 8), 3, generators["networks"])
    record = draw(task.augmentation, 3, (1, 8, 8), generators["augmentation"], shared_op=False)
    batches = ClassBatches(task.train, 6)
    real = augment(batches.draw(generators["batches"]), record, batches.labels)
    wanted = network.embed(real).detach().unflatten(0, (3, 6)).mean(1)
    pixels = everything[0].images
    for after in everything[1:]:
        pixels = pixels.detach().requires_grad_()
        made = network.embed(augment(pixels, record, everything[0].labels)).unflatten(0, (3, 2)).mean(1)
        (gradient,) = torch.autograd.grad((wanted - made).square().sum(), pixels)
        pixels = pixels - 0.3 * gradient
        torch.testing.assert_close(after.images, pixels, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("setting", ["iterations_per_network", "image_steps"])
def test_reuse_changes_the_set_and_zero_uses_are_refused(setting: str, toy_task: Factory) -> None:
    def final(**settings: Any) -> Tensor:
        config = build(DMConfig, {"num_iterations": 4, **settings})
        return list(DM(config).distill(toy_task(), Generators(0)))[-1].snapshot().images

    assert not torch.equal(final(), final(**{setting: 2}))
    with pytest.raises(ConfigError, match=rf"distill\.{setting} = 0.*greater than or equal to 1"):
        build(DMConfig, {setting: 0}, "distill")


def test_one_network_for_the_whole_run_is_lowered_further(toy_task: Factory) -> None:
    def last_losses(**settings: Any) -> float:
        config = build(DMConfig, {"num_iterations": 30, "batch_real": 14, "init": "noise", **settings})
        task = toy_task(augmentation=AugmentationConfig())
        losses = [
            float(one.losses["match/loss"]) for one in list(DM(config).distill(task, Generators(0)))[1:]
        ]
        return sum(losses[-5:])

    assert last_losses(iterations_per_network=30) < 0.8 * last_losses()
