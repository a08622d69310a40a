from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from study.core.device import Compute
from study.evaluation.training_step import prepare_step
from study.models.pool import ModelConfig, build_model
from study.models.work import work_of_model

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


@pytest.mark.parametrize(("compiled", "use"), [(False, "evaluation"), (True, "evaluation compiled")])
def test_a_step_is_cut_for_memory_or_for_the_cache(compiled, use, set_room):
    def size(norm: str = "instance", num_networks: int = 1) -> int | None:
        step = prepare_step(
            ModelConfig(width=4, norm=norm), SHAPE, 3, num_networks=num_networks, batch_size=10, compute=CPU,
            compiled=compiled,
        )  # fmt: skip
        return step.piece_size

    assert size() is None
    largest = work_of_model(ModelConfig(width=4), SHAPE, 3).largest_map
    set_room(use, 4 * 4 * largest)
    assert size() == 4
    assert size(norm="batch") is None, "a batch norm sees its batch whole"
    assert size(num_networks=2) is None
