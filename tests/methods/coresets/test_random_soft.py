"""The soft-label control: the images of `random`, the answers of one snapshot of one expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from study.core.config import build
from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.core.spaces import Range
from study.methods.coresets.random_soft import RandomSoft, RandomSoftConfig
from study.methods.experts.config import WholeSet
from study.methods.experts.experts import obtain_experts
from study.models.flat_params import unflatten_parameters
from study.testing.tasks import OwnCache

Factory = Callable[..., Any]

NUM_EPOCHS = 12
SETTINGS = {"teacher_epoch": NUM_EPOCHS, "experts": {"num_epochs": NUM_EPOCHS, "batch_size": 8, "lr": 0.05}}


class TestRandomSoft(OwnCache):
    def test_images_are_those_of_random(self, toy_distill: Factory) -> None:
        for seed in (0, 1):
            (_, plain), (_, soft) = toy_distill("random", seed=seed), toy_distill("random-soft", seed=seed)
            assert torch.equal(plain.images, soft.images)
            assert torch.equal(plain.labels, soft.labels)

    def test_labels_are_the_logits_of_that_snapshot(self, toy_distill: Factory, toy_task: Factory) -> None:
        task = toy_task()
        for epoch in (0, NUM_EPOCHS):
            _, soft = toy_distill("random-soft", task=task, **{**SETTINGS, "teacher_epoch": epoch})
            method = RandomSoft(build(RandomSoftConfig, {**SETTINGS, "teacher_epoch": epoch}))
            experts = obtain_experts(task, method.expert_config, WholeSet(), Generators(0))
            network = task.network().eval()
            with torch.no_grad():
                weights = unflatten_parameters(experts.snapshot(0, epoch), network)
                for name, parameter in network.named_parameters():
                    parameter.copy_(weights[name])
                # One image at a time: no batch, no augmentation.
                slow = torch.cat([network(image[None]) for image in soft.images])
            torch.testing.assert_close(soft.logits, slow)

    def test_an_untrained_teacher_knows_nothing_and_a_trained_one_the_classes(
        self, toy_distill: Factory, toy_task: Factory
    ) -> None:
        task = toy_task(ipc=9)
        _, first = toy_distill("random-soft", task=task, **{**SETTINGS, "teacher_epoch": 0})
        _, last = toy_distill("random-soft", task=task, **SETTINGS)

        def surprise(synthetic: Any) -> float:
            return float(torch.nn.functional.cross_entropy(synthetic.logits, synthetic.labels))

        assert float((first.targets() - 1 / 3).abs().max()) < 0.25
        assert surprise(last) < 0.5 * surprise(first)
        # The class an image was drawn for stays, whatever the teacher says of it.
        assert first.labels.tolist() == last.labels.tolist() == sorted([0, 1, 2] * 9)

    def test_trials_of_a_search_share_one_teacher(self, toy_task: Factory) -> None:
        task, searched = toy_task(), {"distill.teacher_epoch": Range(kind="int", low=1, high=5)}
        keys = set()
        for epoch in (1, 3):
            settings = build(RandomSoftConfig, {**SETTINGS, "teacher_epoch": epoch})
            method = RandomSoft(settings, searched)
            keys.add(method.prepare(task, Generators(0)).facts["key"])
            assert method.expert_config.num_epochs == 5
            assert method.estimate(task, Generators(0)).facts["to_build"] == 0
        assert len(keys) == 1


def test_a_teacher_that_never_gets_there_or_a_second_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"teacher_epoch = 9 is above experts\.num_epochs = 8"):
        build(RandomSoftConfig, {"teacher_epoch": 9, "experts": {"num_epochs": 8}})
    with pytest.raises(ConfigError, match="num_experts = 2"):
        build(RandomSoftConfig, {"experts": {"num_experts": 2}})
