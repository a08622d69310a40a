"""The family: DM is one of its settings, each loss by hand, which networks are drawn, and what the judge does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from study.core.config import build
from study.core.device import Compute
from study.core.digests import set_digest
from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.methods.base import METHODS, Method
from study.methods.dm import DM, DMConfig
from study.methods.hooks import Estimate
from study.methods.matching.real_batches import ClassBatches
from study.methods.trained.config import TrainedMatchingConfig
from study.methods.trained.networks import TrainedNetworks
from study.models.network import Network
from study.testing.tasks import OwnCache

Factory = Callable[..., Any]

FAMILY = ("ncfm", "dance", "tgdd", "idm")
EXPERTS = {"num_experts": 2, "num_epochs": 4, "batch_size": 8, "lr": 0.05}


def family(name: str, **settings: Any) -> Method[Any]:
    values = {"num_iterations": 3, "batch_real": 6, "experts": EXPERTS, **settings}
    return METHODS[name](build(METHODS[name].Config, values, "distill"))


AS_DM = {"network": "random", "distance": "mean", "ce_weight": 0.0, "loss_scale": 1.0, "pixel_range": None,
         "optimizer": "sgd", "image_lr": 0.7, "ce_by_accuracy": False}  # fmt: skip


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_networks_means_and_no_judge_are_dm_to_the_bit(
    name: str, dtype: torch.dtype, toy_task: Factory
) -> None:
    task = replace(toy_task(), compute=Compute(torch.device("cpu"), dtype))
    method = family(name, **AS_DM)
    assert method.estimate(task, Generators(0)) == Estimate()  # no expert is asked for
    mine = list(method.distill(task, Generators(4)))
    theirs = list(DM(DMConfig(num_iterations=3, batch_real=6, image_lr=0.7)).distill(task, Generators(4)))
    assert set_digest(mine[-1].snapshot()) == set_digest(theirs[-1].snapshot())
    assert [one.losses["match/loss"] for one in mine[1:]] == [one.losses["match/loss"] for one in theirs[1:]]


@pytest.mark.parametrize(
    "change",
    [{"network": "snapshot"}, {"distance": "characteristic"}, {"ce_weight": 0.3}, {"optimizer": "adamw"}],
)
def test_every_switch_of_the_family_changes_the_set(
    change: dict[str, Any], toy_task: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    plain, other = (
        list(family("dance", **{**AS_DM, **more}).distill(toy_task(), Generators(0)))[-1].snapshot()
        for more in ({}, change)
    )
    assert set_digest(plain) != set_digest(other)


def _embed(network: Network, images: Tensor) -> np.ndarray:
    with torch.no_grad():
        return network.embed(images).double().numpy()


def _cross_entropy(network: Network, images: Tensor, label: int) -> float:
    with torch.no_grad():
        logits = network(images).double().numpy()
    return float(np.mean([np.log(np.exp(row).sum()) - row[label] for row in logits]))


def _network(task: Any, flat: Tensor) -> Network:
    network = task.network()
    vector_to_parameters(flat, network.parameters())
    return network


class TestLosses(OwnCache):
    """First losses, worked out image by image from the experts and the draws."""

    def first(self, name: str, task: Any, **settings: Any) -> tuple[Any, Any, Any, Generators, Tensor]:
        method = family(name, num_iterations=1, **settings)
        steps = method.distill(task, Generators(11))
        start, losses = next(steps).snapshot(), next(steps).losses
        generators = Generators(11)
        experts = method._experts(task, generators)
        batch = ClassBatches(task.train, 6).draw(generators["batches"])
        return start, losses, experts, generators, batch

    def test_ncfm(self, toy_task: Factory) -> None:
        task = toy_task(augmentation=AugmentationConfig())
        start, losses, experts, generators, batch = self.first(
            "ncfm", task, num_frequencies=16, ce_weight=0.5
        )
        source = generators["starts"]
        expert = int(torch.randint(2, (1,), generator=source))
        share = float(torch.rand((), generator=source))
        first, final = experts.snapshot(expert, 0), experts.final(expert)
        network, judge = _network(task, share * first + (1 - share) * final), _network(task, final)
        width = network.classifier.in_features
        t = torch.randn(16, width, generator=generators["frequencies"]).double().numpy()
        distance = entropy = 0.0
        for label in range(3):
            made = start.images[start.labels == label]
            functions = []
            for images in (batch[6 * label : 6 * label + 6], made):
                rows = _embed(network, images)
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                functions.append(np.exp(1j * rows @ t.T).mean(0))
            distance += np.abs(functions[0] - functions[1]).mean() / np.sqrt(2)
            entropy += _cross_entropy(judge, made, label)
        assert float(losses["match/distance"]) == pytest.approx(distance, rel=1e-3)
        assert float(losses["match/cross_entropy"]) == pytest.approx(entropy, rel=1e-4)
        assert float(losses["match/loss"]) == pytest.approx(300 * distance + 0.5 * entropy, rel=1e-3)

    def test_tgdd(self, toy_task: Factory) -> None:
        task = toy_task(augmentation=AugmentationConfig())
        start, losses, experts, generators, batch = self.first("tgdd", task, ce_interval=3)
        source = generators["starts"]
        expert, epoch = (int(torch.randint(limit, (1,), generator=source)) for limit in (2, 5))
        later = epoch + int(torch.randint(min(3, 5 - epoch), (1,), generator=source))
        network, judge = (_network(task, experts.snapshot(expert, one)) for one in (epoch, later))
        distance = entropy = 0.0
        for label in range(3):
            made = start.images[start.labels == label]
            difference = _embed(network, batch[6 * label : 6 * label + 6]).mean(0) - _embed(
                network, made
            ).mean(0)
            distance += np.square(difference).sum()
            entropy += _cross_entropy(judge, made, label)
        assert float(losses["match/distance"]) == pytest.approx(distance, rel=1e-4)
        assert float(losses["match/loss"]) == pytest.approx(distance + entropy, rel=1e-4)

    def test_idm_weighs_by_the_percentage_that_is_right(self, toy_task: Factory) -> None:
        task = toy_task(augmentation=AugmentationConfig())
        start, losses, experts, generators, batch = self.first("idm", task)
        source = generators["starts"]
        expert, epoch = (int(torch.randint(limit, (1,), generator=source)) for limit in (2, 5))
        network = _network(task, experts.snapshot(expert, epoch))
        with torch.no_grad():
            right = network(batch).argmax(1) == torch.arange(3).repeat_interleave(6)
        entropy = sum(
            _cross_entropy(network, start.images[start.labels == label], label) for label in range(3)
        )
        percent = 100 * float(right.float().mean())
        assert 0 < percent <= 100
        assert float(losses["match/ce_weight"]) == pytest.approx(0.5 * percent, rel=1e-5)
        expected = float(losses["match/distance"]) + 0.5 * percent * entropy
        assert float(losses["match/loss"]) == pytest.approx(expected, rel=1e-4)


class _Experts:
    """Parameters that tell which expert and epoch they belong to: 100 · expert + epoch, everywhere."""

    num_experts = 3

    def __init__(self, task: Any, num_epochs: int) -> None:
        self._length = sum(one.numel() for one in task.network().parameters())
        self._num_epochs = num_epochs

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        assert 0 <= epoch <= self._num_epochs
        return torch.full((self._length,), float(100 * expert + epoch))

    def final(self, expert: int) -> Tensor:
        return self.snapshot(expert, self._num_epochs)


def _drawn(task: Any, number: int = 300, **settings: Any) -> list[tuple[float, float]]:
    """What the matched network and its judge were, draw by draw."""
    values = {"experts": {"num_epochs": 10}, "ce_weight": 1.0, **settings}
    networks = TrainedNetworks(build(TrainedMatchingConfig, values), task, _Experts(task, 10))
    generators, drawn = Generators(0), []
    for _ in range(number):
        networks.renew(generators)
        assert networks.features.judge is not None
        both = (networks.features, networks.features.judge)
        drawn.append(tuple(float(next(one._network.parameters()).flatten()[0]) for one in both))
    return drawn


def test_every_snapshot_is_matched_and_the_judge_is_a_little_later(toy_task: Factory) -> None:
    drawn = _drawn(toy_task(), ce_network="later", ce_interval=3)
    assert {matched % 100 for matched, _ in drawn} == set(range(11))
    assert {matched // 100 for matched, _ in drawn} == {0, 1, 2}
    assert {judge - matched for matched, judge in drawn} == {0, 1, 2}
    assert max(judge % 100 for _, judge in drawn) == 10


def test_interpolated_networks_lie_between_and_their_experts_end_judges(toy_task: Factory) -> None:
    drawn = _drawn(toy_task(), network="interpolated", ce_network="final")
    shares = [(matched % 100) / 10 for matched, _ in drawn]
    assert 0 <= min(shares) < 0.05
    assert 0.95 < max(shares) <= 1
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert all(judge % 100 == 10 and judge // 100 == matched // 100 for matched, judge in drawn)


def test_the_matched_network_may_judge_itself(toy_task: Factory) -> None:
    assert all(matched == judge for matched, judge in _drawn(toy_task(), 20, ce_network="matched"))
    assert all(
        matched == judge for matched, judge in _drawn(toy_task(), 5, ce_network="matched", network="random")
    )


def test_frequencies_are_new_with_every_network_and_every_target(toy_task: Factory) -> None:
    settings = {"distance": "characteristic", "num_frequencies": 3, "experts": {"num_epochs": 2}}
    networks = TrainedNetworks(build(TrainedMatchingConfig, settings), toy_task(), _Experts(toy_task(), 2))
    generators, seen = Generators(0), []
    for draw in (networks.renew, lambda source: networks.reuse(None, source)):  # type: ignore[arg-type]
        draw(generators)
        seen.append(networks._waves.frequencies.clone())
    assert not torch.equal(seen[0], seen[1])


def test_a_judge_alone_moves_images_into_their_class(
    toy_task: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    settings = {
        "network": "interpolated",
        "loss_scale": 1e-6,
        "init": "noise",
        "num_iterations": 30,
        "image_lr": 5.0,
    }
    steps = list(family("dance", **settings).distill(toy_task(), Generators(0)))
    entropies = [float(one.losses["match/cross_entropy"]) for one in steps[1:]]
    assert np.mean(entropies[-5:]) < 0.5 * np.mean(entropies[:5])


def test_later_judges_need_snapshots() -> None:
    with pytest.raises(
        ConfigError, match="ce_network = 'later' needs network = 'snapshot', not 'interpolated'"
    ):
        build(METHODS["tgdd"].Config, {"network": "interpolated"}, "distill")


def test_bounded_images_stay_between_the_real_ones(toy_task: Factory) -> None:
    task = toy_task()
    low, high = float(task.train.images.min()), float(task.train.images.max())
    settings = {**AS_DM, "image_lr": 50.0, "init": "noise"}
    free, kept = (
        list(family("dance", **{**settings, "pixel_range": pixel_range}).distill(task, Generators(0)))[-1]
        .snapshot()
        .images
        for pixel_range in (None, 0.0)
    )
    assert float(free.abs().max()) > high
    assert low <= float(kept.min()) < float(kept.max()) <= high
