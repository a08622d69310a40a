from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study.core.digests import dataset_digest
from study.core.errors import ConfigError
from study.core.reporting import listening
from study.core.seeding import Generators
from study.methods.base import Task
from study.methods.difficulty import scores as difficulty
from study.methods.difficulty.ranking import rank_by_class
from study.methods.difficulty.scores import (
    DifficultyConfig,
    difficulty_key,
    difficulty_scores,
)
from study.models.pool import ModelConfig, build_model

Factory = Callable[..., Any]
SCORES = ["el2n", "grand", "loss", "forgetting"]
QUICK: dict[str, Any] = {"num_networks": 3, "num_epochs": 3, "batch_size": 10}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))


def scores_of(task: Task, seed: int = 0, **settings: Any) -> Tensor:
    return difficulty_scores(task, DifficultyConfig(**QUICK | settings), Generators(seed))


def trained_slowly(task: Task, config: DifficultyConfig, seed: int) -> tuple[list[Any], Tensor]:
    """The networks of a call, trained one after the other, and their forgetting counts [networks, n]."""
    train, networks, forgetting = task.train, [], []
    for index in range(config.num_networks):
        family = Generators(seed).child("difficulty", index)
        network = build_model(task.model, train.image_shape, 3, family["init"])
        optimizer = torch.optim.SGD(network.parameters(), config.lr, config.momentum)
        history: list[list[bool]] = [[] for _ in range(len(train))]
        for _ in range(config.num_epochs):
            order = torch.randperm(len(train), generator=family["batches"])
            for batch in order.split(config.batch_size):
                logits = network(train.images[batch])
                for position, right in zip(batch, logits.argmax(1) == train.labels[batch], strict=True):
                    history[position].append(bool(right))
                optimizer.zero_grad()
                functional.cross_entropy(logits, train.labels[batch]).backward()
                optimizer.step()
        networks.append(network.eval())
        forgetting.append(
            [
                sum(a and not b for a, b in itertools.pairwise(h)) if any(h) else config.num_epochs
                for h in history
            ]
        )
    return networks, torch.tensor(forgetting).float()


@pytest.mark.parametrize("score", SCORES)
def test_scores_equal_a_plain_loop(score: Any, toy_task: Factory) -> None:
    task = toy_task()
    config = DifficultyConfig(**QUICK | {"score": score})
    networks, forgetting = trained_slowly(task, config, 4)
    expected = np.zeros(len(task.train))
    for number, network in enumerate(networks):
        for position in range(len(task.train)):
            image, label = task.train.images[position : position + 1], int(task.train.labels[position])
            if score == "grand":
                network.zero_grad()
                functional.cross_entropy(network(image), torch.tensor([label])).backward()
                grads = [parameter.grad.double().flatten() for parameter in network.parameters()]
                expected[position] += float(torch.cat(grads).norm()) / 3
                continue
            logits = network(image)[0].detach().double().numpy()
            probabilities = np.exp(logits) / np.exp(logits).sum()
            expected[position] += {
                "el2n": np.sqrt(((probabilities - np.eye(3)[label]) ** 2).sum()),
                "loss": -np.log(probabilities[label]),
                "forgetting": float(forgetting[number, position]),
            }[score] / 3
    found = difficulty_scores(task, config, Generators(4))
    assert found.dtype is torch.float32
    assert found.numpy() == pytest.approx(expected, rel=2e-4, abs=1e-5)
    assert float(found.std()) > 0


def test_el2n_is_bounded_and_not_squared(toy_task: Factory) -> None:
    found = scores_of(toy_task(), lr=0.3, num_epochs=1)
    assert 0 <= float(found.min()) <= float(found.max()) <= 2**0.5
    untrained = scores_of(toy_task(), lr=1e-12, num_epochs=1)
    # Of three classes, all about equally likely: the root of 4/9 + 1/9 + 1/9, not that sum itself.
    assert float(untrained.mean()) == pytest.approx((2 / 3) ** 0.5, abs=0.06)


@pytest.mark.parametrize("score", SCORES)
def test_mislabelled_images_are_the_hardest_of_their_class(score: str, toy_task: Factory) -> None:
    task = toy_task()
    labels = task.train.labels.clone()
    wrong = torch.stack([(labels == 0).nonzero()[0, 0], (labels == 1).nonzero()[3, 0]])
    labels[wrong] = 2
    task = replace(task, train=replace(task.train, labels=labels))
    settings = {"num_epochs": 6, "lr": 0.05, "score": score}
    ranking = rank_by_class(scores_of(task, **settings), labels, 3)
    assert set(wrong.tolist()) == set(ranking[2][-2:].tolist())


@pytest.mark.parametrize("score", SCORES)
def test_same_seed_same_bits_and_other_seed_other_scores(score: str, toy_task: Factory) -> None:
    task = toy_task()
    config = DifficultyConfig(**QUICK | {"score": score})
    first = difficulty._compute_scores(task, config, Generators(1))
    assert torch.equal(first, difficulty._compute_scores(task, config, Generators(1)))
    assert not torch.equal(first, difficulty._compute_scores(task, config, Generators(2)))


def test_stacked_networks_score_as_single_ones(
    toy_task: Factory, monkeypatch: pytest.MonkeyPatch, set_room: Factory
) -> None:
    task, config = toy_task(), DifficultyConfig(**QUICK)
    sizes = []
    train = difficulty._train

    def spy(*args: Any) -> Tensor:
        sizes.append(args[2].num_networks)
        return train(*args)

    monkeypatch.setattr(difficulty, "_train", spy)
    together = difficulty._compute_scores(task, config, Generators(0))
    set_room("difficulty stacked", 0)
    apart = difficulty._compute_scores(task, config, Generators(0))
    assert sizes == [3, 1, 1, 1]
    assert torch.allclose(together, apart, atol=1e-5)


def test_networks_with_batch_norm_are_scored_too(toy_task: Factory) -> None:
    task = toy_task(model=ModelConfig(depth=1, width=4, norm="batch"))
    for score in ("el2n", "grand"):
        assert bool(scores_of(task, num_networks=2, score=score).isfinite().all())


def test_steps_and_width_are_capped(toy_task: Factory) -> None:
    task = toy_task()
    long = scores_of(task, num_epochs=50, max_steps=5)
    assert torch.equal(long, scores_of(task, num_epochs=2, max_steps=5))
    assert not torch.equal(long, scores_of(task, num_epochs=50, max_steps=6))
    narrow = scores_of(task, max_width=4)
    assert torch.equal(narrow, scores_of(replace(task, model=task.model.model_copy(update={"width": 4}))))
    assert not torch.equal(narrow, scores_of(task))
    assert torch.equal(scores_of(task), scores_of(task, max_width=None))


def test_the_cap_never_widens_a_network(toy_task: Factory) -> None:
    task = toy_task(model=ModelConfig(name="lenet"))
    assert torch.equal(scores_of(task, max_width=32), scores_of(task, max_width=None))


def test_second_call_reads_the_cache(toy_task: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task()
    first = scores_of(task)

    def fail(*args: object) -> Tensor:
        raise AssertionError("computed again")

    monkeypatch.setattr(difficulty, "_compute_scores", fail)
    assert torch.equal(first, scores_of(task))
    labels = task.train.labels.roll(1)
    changed = [
        (task, {"num_epochs": 2}, 0),
        (task, {"score": "loss"}, 0),
        (task, {}, 1),
        (replace(task, train=replace(task.train, labels=labels)), {}, 0),
        (replace(task, train=replace(task.train, images=task.train.images + 1e-6)), {}, 0),
        (replace(task, model=task.model.model_copy(update={"width": 9})), {}, 0),
    ]
    for other, settings, seed in changed:
        with pytest.raises(AssertionError, match="computed again"):
            scores_of(other, seed, **settings)


def test_the_steps_of_all_networks_are_counted(toy_task: Factory) -> None:
    task, told = toy_task(), []
    num_steps = 3 * 3 * -(-len(task.train) // 10)
    with listening(lambda what, done, total: told.append((done, total))):
        scores_of(task)
        first = list(told)
        scores_of(task)
    assert told == first, "nothing is told of what the cache has"
    assert (told[0], told[-1]) == ((0, num_steps), (num_steps, num_steps))
    assert len({done for done, _ in told}) > 3


def test_key_is_plain_and_ignores_what_does_not_matter(toy_task: Factory) -> None:
    task, config = toy_task(), DifficultyConfig()
    key = difficulty_key(task, config, Generators(0))
    assert key == difficulty_key(replace(task, ipc=7), config, Generators(0))
    renamed = replace(task.train, class_names=("x", "y", "z"))
    assert dataset_digest(renamed) == dataset_digest(task.train) == key["data"]
    order = torch.arange(len(task.train)).roll(1)
    assert dataset_digest(task.train.subset(order)) != key["data"]


def test_task_and_global_generator_are_left_alone(toy_task: Factory) -> None:
    task = toy_task()
    images, state = task.train.images.clone(), torch.get_rng_state()
    scores_of(task)
    assert torch.equal(images, task.train.images)
    assert torch.equal(state, torch.get_rng_state())


def test_forgetting_needs_two_epochs(toy_task: Factory) -> None:
    with pytest.raises(ConfigError, match="4 steps of 10 show 34 images less than twice"):
        scores_of(toy_task(), score="forgetting", num_epochs=1)
    with pytest.raises(ConfigError, match="2 steps of 10"):
        scores_of(toy_task(), score="forgetting", max_steps=2)


def test_divergence_is_an_error(toy_task: Factory) -> None:
    with pytest.raises(ConfigError, match=r"difficulty\.lr = 1e\+30: the networks diverged"):
        scores_of(toy_task(), lr=1e30)
