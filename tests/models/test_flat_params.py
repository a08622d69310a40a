"""Parameters as one vector: there and back, and the forward pass with a vector in their place."""

import pytest
import torch

from study.core.errors import ShapeError
from study.models.flat_params import flatten_parameters, forward_flat, num_parameters, unflatten_parameters
from study.models.pool import ModelConfig, build_model


def _network(seed=0, **settings):
    config = ModelConfig(width=4, **settings)
    return build_model(config, (1, 8, 8), 3, torch.Generator().manual_seed(seed))


def test_unflatten_undoes_flatten():
    network = _network()
    flat = flatten_parameters(network)
    assert flat.shape == (num_parameters(network),)
    named = unflatten_parameters(flat, network)
    assert list(named) == [name for name, _ in network.named_parameters()]
    for name, parameter in network.named_parameters():
        assert torch.equal(named[name], parameter)
    assert torch.equal(torch.cat([tensor.flatten() for tensor in named.values()]), flat)


def test_the_vector_is_a_copy_in_logical_order():
    network = _network()
    flat = flatten_parameters(network)
    assert torch.equal(flatten_parameters(network.to(memory_format=torch.channels_last)), flat)
    with torch.no_grad():
        next(network.parameters()).add_(1)
    assert not torch.equal(flatten_parameters(network), flat)


@pytest.mark.parametrize("norm", ["instance", "layer", "none"])
def test_forward_with_a_vector_is_the_forward_of_the_network_it_came_from(norm):
    network, other = _network(0, norm=norm), _network(1, norm=norm)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    before = flatten_parameters(other)
    assert torch.equal(forward_flat(other, flatten_parameters(network), images), network(images))
    assert torch.equal(flatten_parameters(other), before)


def test_gradient_in_the_vector_is_the_gradient_of_the_network():
    network = _network()
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    flat = flatten_parameters(network).requires_grad_()
    forward_flat(network, flat, images).square().sum().backward()
    network(images).square().sum().backward()
    torch.testing.assert_close(flat.grad, torch.cat([p.grad.flatten() for p in network.parameters()]))


def test_leading_axes_are_kept():
    network = _network()
    flat = torch.stack([flatten_parameters(network), flatten_parameters(_network(1))])
    named = unflatten_parameters(flat, network)
    assert named["classifier.weight"].shape == (2, *network.classifier.weight.shape)
    assert torch.equal(named["classifier.bias"][0], network.classifier.bias)


def test_a_vector_of_another_network_is_refused():
    with pytest.raises(ShapeError, match="expected"):
        unflatten_parameters(torch.zeros(10), _network())
