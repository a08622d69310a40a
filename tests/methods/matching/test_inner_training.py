from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from study.data.augment import AugmentationConfig
from study.methods.matching.inner_training import InnerTraining

Factory = Callable[..., Any]


def build_training(task: Any, **settings: Any) -> InnerTraining:
    training = InnerTraining(task, settings.pop("lr", 0.05), settings.pop("batch_size", 100), **settings)
    training.redraw(torch.Generator().manual_seed(0))
    return training


def test_one_whole_batch_step_is_plain_gradient_descent(toy_task: Factory) -> None:
    task = toy_task()
    training, reference = build_training(task), build_training(task).network
    images, labels = task.train.images, task.train.labels
    training.train(images, labels, 1, torch.Generator().manual_seed(1))
    functional.cross_entropy(reference(images), labels).backward()
    for mine, its in zip(training.network.parameters(), reference.parameters(), strict=True):
        assert its.grad is not None
        torch.testing.assert_close(mine, its - 0.05 * its.grad, atol=1e-5, rtol=1e-4)


def test_training_lowers_the_loss_and_leaves_the_images_alone(toy_task: Factory) -> None:
    task = toy_task()
    training = build_training(task, batch_size=8)
    images, labels = task.train.images.clone(), task.train.labels
    before = functional.cross_entropy(training.network(images), labels).item()
    training.train(images, labels, 40, torch.Generator().manual_seed(1))
    after = functional.cross_entropy(training.network(images), labels).item()
    assert after < 0.5 * before
    assert torch.equal(images, task.train.images)


def test_every_pass_sees_every_image_once(toy_task: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task()
    training = build_training(task, batch_size=10)
    seen: list[int] = []
    gradients = training.gradients

    def note(images: torch.Tensor, labels: torch.Tensor, *, exact: bool) -> dict[str, torch.Tensor]:
        flat = task.train.images.flatten(1)
        seen.extend(int((flat == image.flatten()).all(1).nonzero()[0]) for image in images)
        return gradients(images, labels, exact=exact)

    monkeypatch.setattr(training, "gradients", note)
    # 34 images in batches of 10 are 4 steps a pass.
    training.train(task.train.images, task.train.labels, 8, torch.Generator().manual_seed(1))
    assert sorted(seen[:34]) == sorted(seen[34:]) == list(range(34))
    assert seen[:34] != seen[34:]


def test_augmentation_changes_what_is_learnt(toy_task: Factory) -> None:
    task = toy_task()
    results = []
    for config in (None, AugmentationConfig(strategy="crop")):
        training = build_training(task, augmentation=config)
        training.train(task.train.images, task.train.labels, 2, torch.Generator().manual_seed(1))
        results.append(next(training.network.parameters()).clone())
    assert not torch.equal(results[0], results[1])
