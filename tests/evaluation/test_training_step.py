from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from study.core.device import Compute
from study.evaluation import training_step
from study.evaluation.training_step import prepare_step, probe
from study.models.pool import ModelConfig, build_model

SHAPE = (1, 8, 8)
CPU = Compute(torch.device("cpu"))


def build_batch(num_images: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(num_images, *SHAPE, generator=generator)
    return images, torch.randn(num_images, 3, generator=generator).softmax(1)


@pytest.mark.parametrize("piece_size", [None, 1, 3, 10])
@pytest.mark.parametrize("num_networks", [1, 2])
def test_gradients_are_those_of_the_mean_whatever_the_pieces(
    piece_size: int | None, num_networks: int
) -> None:
    model = ModelConfig(width=4)
    step = prepare_step(
        model, SHAPE, 3, num_networks=num_networks, batch_size=10, compute=CPU, compiled=False
    )
    step.stack.reset([torch.Generator().manual_seed(seed) for seed in range(num_networks)])
    images, targets = build_batch()
    dataclasses.replace(step, piece_size=piece_size).backward(
        images, targets.expand(num_networks, *targets.shape)
    )
    for index in range(num_networks):
        network = build_model(model, SHAPE, 3, torch.Generator().manual_seed(index))
        functional.cross_entropy(network(images), targets).backward()
        for stacked, own in zip(step.stack.parameters, network.parameters(), strict=True):
            found = stacked.grad if num_networks == 1 else stacked.grad[index]
            torch.testing.assert_close(found, own.grad, rtol=1e-4, atol=1e-6)


def test_pieces_fit_and_are_nearly_equal() -> None:
    facts = probe(ModelConfig(width=4), SHAPE, 3)
    room = facts.largest_map * 4 * 40.5
    assert training_step._piece_size(facts, 100, CPU, room) == 34
    assert training_step._piece_size(facts, 40, CPU, room) is None
    assert training_step._piece_size(facts, 100, CPU, 1) == 1


def test_batch_norm_sees_its_batch_whole() -> None:
    facts = probe(ModelConfig(width=4, norm="batch"), SHAPE, 3)
    assert training_step._piece_size(facts, 100, CPU, 1) is None


@pytest.mark.parametrize(
    ("compiled", "constant"), [(False, "MAX_MAP_BYTES"), (True, "PIECE_BYTES_PER_THREAD")]
)
def test_a_step_is_cut_for_memory_or_for_the_cache(
    compiled: bool, constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def size() -> int | None:
        step = prepare_step(
            ModelConfig(width=4), SHAPE, 3, num_networks=1, batch_size=10, compute=CPU, compiled=compiled
        )
        return step.piece_size

    assert size() is None
    monkeypatch.setattr(training_step, constant, 1)
    assert size() == 1
