"""The multilayer perceptron: count, arithmetic, depth, and norms that have no meaning."""

import pytest
import torch
from torch.nn import functional

from study.core.errors import ConfigError
from study.models.flat_params import num_parameters
from study.models.mlp import MLP
from study.models.pool import ModelConfig, build_model


def _build(shape=(3, 32, 32), **settings):
    return build_model(ModelConfig(name="mlp", **settings), shape, 10, torch.Generator().manual_seed(0))


def test_parameters_are_those_of_the_published_layers():
    assert num_parameters(_build()) == (3072 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10)
    assert num_parameters(_build((1, 28, 28))) == (784 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10)


def test_it_is_two_hidden_layers_with_relu():
    network = _build((1, 8, 8))
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    first, second, last = (network.hidden[0], network.hidden[2], network.classifier)
    hidden = functional.relu(second(functional.relu(first(images.flatten(1)))))
    torch.testing.assert_close(network.embed(images), hidden)
    torch.testing.assert_close(network(images), last(hidden))


def test_depth_and_width_are_the_hidden_layers():
    sizes = [tuple(p.shape) for p in _build((1, 8, 8), depth=3, width=5).parameters() if p.ndim == 2]
    assert sizes == [(5, 64), (5, 5), (5, 5), (10, 5)]


def test_impossible_networks_are_refused():
    with pytest.raises(ConfigError, match="depth = 0"):
        MLP((1, 8, 8), 10, depth=0)
    with pytest.raises(ConfigError, match="'instance': an MLP takes none or layer"):
        MLP((1, 8, 8), 10, norm="instance")
