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


def test_pieces_fit_the_cache_and_are_nearly_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(width=4)
    map_bytes = probe(model, SHAPE, 3).largest_map * 4
    threads = torch.get_num_threads()
    monkeypatch.setattr(training_step, "PIECE_BYTES_PER_THREAD", map_bytes * 40 / threads)
    assert training_step._piece_size(model, SHAPE, 3, 100, CPU) == 34
    assert training_step._piece_size(model, SHAPE, 3, 40, CPU) is None


def test_batch_norm_sees_its_batch_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_step, "PIECE_BYTES_PER_THREAD", 1)
    assert training_step._piece_size(ModelConfig(width=4, norm="batch"), SHAPE, 3, 100, CPU) is None


def test_an_uncompiled_step_takes_its_batch_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_step, "PIECE_BYTES_PER_THREAD", 1)
    step = prepare_step(
        ModelConfig(width=4), SHAPE, 3, num_networks=1, batch_size=10, compute=CPU, compiled=False
    )
    assert step.piece_size is None
