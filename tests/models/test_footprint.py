from __future__ import annotations

import pytest
import torch

from study.models.footprint import largest_map
from study.models.pool import MODELS, ModelConfig, build_model


def test_of_a_convnet_it_is_the_first_map() -> None:
    network = build_model(ModelConfig(width=6), (1, 16, 20), 10, torch.Generator())
    assert largest_map(network) == 6 * 16 * 20


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(name: str, training: bool) -> None:
    network = build_model(ModelConfig(name=name, norm="published"), (3, 32, 32), 10, torch.Generator())
    network.train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert largest_map(network) >= 10
    assert network.training is training
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in network.modules())
