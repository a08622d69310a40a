"""Stacked networks compute, and learn, what each would alone."""

import pytest
import torch

from study.core.errors import ConfigError
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, build_model
from study.models.stack import NetworkStack

SHAPE = (3, 8, 8)


def _network(seed=0, **settings):
    return build_model(ModelConfig(width=8, **settings), SHAPE, 4, torch.Generator().manual_seed(seed))


def _stack(num_networks=3, **settings):
    stack = NetworkStack(_network(**settings), num_networks)
    stack.reset([torch.Generator().manual_seed(seed) for seed in range(num_networks)])
    return stack


@pytest.mark.parametrize("norm", ["none", "layer", "instance", "group"])
@pytest.mark.parametrize("pooling", ["avg", "none"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared images", "own images"])
def test_a_stack_computes_what_its_members_do_alone(norm, pooling, shared):
    stack = _stack(norm=norm, pooling=pooling, activation="swish")
    images = torch.randn(3, 5, *SHAPE, generator=torch.Generator().manual_seed(9))
    logits = stack.forward(images[0] if shared else images)
    assert logits.shape == (3, 5, 4)
    for index in range(3):
        alone = _network(index, norm=norm, pooling=pooling, activation="swish")
        expected = alone(images[0 if shared else index])
        torch.testing.assert_close(logits[index], expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(flatten_parameters(stack.member(index)), flatten_parameters(alone))


def test_the_general_and_the_grouped_pass_agree():
    stack = _stack()
    images = torch.randn(3, 5, *SHAPE, generator=torch.Generator().manual_seed(9))
    named = dict(zip([n for n, _ in _network().named_parameters()], stack.parameters, strict=True))
    network = _network()
    general = super(type(network), network).forward_stacked(named, images)
    torch.testing.assert_close(network.forward_stacked(named, images), general, atol=1e-5, rtol=1e-4)


def test_the_loss_of_one_member_moves_no_other():
    stack = _stack()
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(9))
    stack.forward(images)[1].square().sum().backward()
    for parameter in stack.parameters:
        assert not parameter.grad[0].any()
        assert not parameter.grad[2].any()
    assert any(parameter.grad[1].any() for parameter in stack.parameters)


def test_a_stack_of_one_is_the_network_itself():
    network = _network(norm="batch")
    stack = NetworkStack(network, 1)
    stack.reset([torch.Generator().manual_seed(4)])
    assert stack.member(0) is network
    assert [p.data_ptr() for p in stack.parameters] == [p.data_ptr() for p in network.parameters()]
    assert not network.training
    images = torch.zeros(2, *SHAPE)
    torch.testing.assert_close(stack.forward(images), network(images)[None])
    torch.testing.assert_close(stack.forward(images[None]), network(images)[None])


def test_running_statistics_cannot_be_stacked():
    with pytest.raises(ConfigError, match="cannot stack 2"):
        NetworkStack(_network(norm="batch"), 2)
