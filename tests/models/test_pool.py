"""Building by name, and fresh initialisation from a generator alone."""

import pytest
import torch

from study.core.errors import ConfigError, UnknownNameError
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, build_model


def _build(seed=0, **settings):
    return build_model(ModelConfig(width=8, **settings), (1, 8, 8), 10, torch.Generator().manual_seed(seed))


def test_one_seed_gives_one_network_and_another_seed_another():
    first, again, other = (flatten_parameters(_build(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance"])
def test_the_global_generator_is_left_alone(norm):
    before = torch.get_rng_state()
    network = _build(norm=norm)
    network.reset_parameters(torch.Generator().manual_seed(3))
    assert torch.equal(before, torch.get_rng_state())


def test_reset_draws_in_place_what_a_new_network_would_have():
    network = _build(seed=0)
    addresses = [parameter.data_ptr() for parameter in network.parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7.0)
    network.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(flatten_parameters(network), flatten_parameters(_build(seed=5)))
    assert [parameter.data_ptr() for parameter in network.parameters()] == addresses


def test_reset_does_not_depend_on_the_memory_format():
    network = _build(seed=0).to(memory_format=torch.channels_last)
    network.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(flatten_parameters(network), flatten_parameters(_build(seed=5)))


def test_reset_forgets_running_statistics():
    network = _build(norm="batch").train()
    network(torch.full((4, 1, 8, 8), 3.0))
    assert float(network.blocks[0].norm.running_mean.abs().max()) > 0
    network.reset_parameters(torch.Generator().manual_seed(0))
    assert float(network.blocks[0].norm.running_mean.abs().max()) == 0
    assert float(network.blocks[0].norm.running_var.min()) == 1


def test_bad_requests_name_the_choices():
    with pytest.raises(UnknownNameError, match=r"'convent'.*Did you mean 'convnet'"):
        _build(name="convent")
    with pytest.raises(ConfigError, match="at least 2"):
        build_model(ModelConfig(), (1, 8, 8), 1, torch.Generator())
