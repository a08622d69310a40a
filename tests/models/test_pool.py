"""Every network of the pool by name: what all of them promise, and fresh initialisation from a generator alone."""

import pytest
import torch
from torch import nn

from study.core.config import build
from study.core.errors import ConfigError, ShapeError, UnknownNameError
from study.models.flat_params import flatten_parameters, forward_flat
from study.models.network import mixes_images
from study.models.pool import MODELS, ModelConfig, build_model
from study.models.stack import NetworkStack

WITHOUT_MAPS = ["mlp", "vit"]
CONVOLUTIONAL = sorted(set(MODELS) - set(WITHOUT_MAPS))
VARIANTS = [
    (name, norm) for name in sorted(MODELS) for norm in MODELS[name].choices.get("norm", ["published"])
]


def _build(seed=0, shape=(1, 8, 8), num_classes=10, **settings):
    config = ModelConfig(**{"width": 8, **settings})
    return build_model(config, shape, num_classes, torch.Generator().manual_seed(seed))


def _images(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_one_seed_gives_one_network_and_another_seed_another():
    first, again, other = (flatten_parameters(_build(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 32, 64, 224])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_size_reaches_the_classifier(name, size, channels):
    network = _build(shape=(channels, size, size), num_classes=5, name=name, width=4)
    images = _images(2, channels, size, size)
    with torch.no_grad():
        logits, features = network(images), network.embed(images)
        assert logits.shape == (2, 5)
        assert features.shape == (2, network.classifier.in_features)
        torch.testing.assert_close(network.classifier(features), logits)
    # Two different images stay apart all the way: no norm has seen a map of a single pixel.
    assert float((features[0] - features[1]).abs().max()) > 1e-6


@pytest.mark.parametrize("name", sorted(MODELS))
def test_images_need_not_be_square(name):
    network = _build(shape=(3, 28, 37), name=name)
    assert network(_images(2, 3, 28, 37)).shape == (2, 10)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_maps_and_embedding_of_one_pass_are_those_of_two(name):
    network, images = _build(shape=(3, 16, 16), name=name), _images(3, 3, 16, 16)
    maps, features = network.observe(images)
    again = network.feature_maps(images)
    assert len(maps) == len(again)
    assert all(torch.equal(one, other) for one, other in zip(maps, again, strict=True))
    assert torch.equal(features, network.embed(images))
    assert all(one.ndim == 4 and bool((one >= 0).all()) and one.isfinite().all() for one in maps)


@pytest.mark.parametrize("name", WITHOUT_MAPS)
def test_a_network_without_convolutional_maps_says_so(name):
    network = _build(name=name)
    with pytest.raises(ConfigError, match=f"model '{name}' has no convolutional feature maps"):
        network.feature_maps(_images(2, 1, 8, 8))
    with pytest.raises(ConfigError, match="no convolutional feature maps"):
        network.observe(_images(2, 1, 8, 8))


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_every_variant_trains_and_looks_at_every_image_alone_unless_batch_norm(name, norm):
    network, images = _build(name=name, norm=norm), _images(4, 1, 8, 8)
    together = network(images)
    together.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    alone = torch.cat([network(images[:2]), network(images[2:])])
    assert torch.allclose(together, alone, atol=1e-5) is (norm != "batch")
    assert mixes_images(network) is (norm == "batch")


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_norms_differ(name):
    images = _images(4, 1, 8, 8)
    norms = MODELS[name].choices["norm"]
    logits = torch.stack([_build(name=name, norm=norm)(images) for norm in norms]).flatten(1)
    distances = torch.cdist(logits, logits) + torch.eye(len(norms))
    assert {"none", "batch", "instance"} <= set(norms)
    assert float(distances.detach().min()) > 1e-3


@pytest.mark.parametrize("name", sorted(MODELS))
def test_activations_differ_and_leave_their_input_alone(name):
    images = _images(2, 1, 8, 8)
    kept = images.clone()
    swish, gelu = (_build(name=name, activation=activation) for activation in ("swish", "gelu"))
    assert not torch.allclose(swish(images), gelu(images), atol=1e-5)
    assert torch.equal(images, kept)
    for network in (swish, _build(name=name)):
        assert not any(getattr(module, "inplace", False) for module in network.modules())


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_a_second_derivative_is_that_of_finite_differences(name, norm):
    """Gradient matching differentiates the gradient in the parameters by the pixels."""
    network = _build(name=name, norm=norm, activation="swish").double()
    images = _images(3, 1, 8, 8).double()
    step, weights = 1e-5 * _images(3, 1, 8, 8, seed=2).double(), None

    def matched(pixels):
        nonlocal weights
        loss = nn.functional.cross_entropy(network(pixels), torch.tensor([0, 1, 2]))
        gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        weights = _images(len(flat), seed=3).double() if weights is None else weights
        return flat @ weights

    pixels = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(matched(pixels), pixels)
    expected = (matched(images + step) - matched(images - step)).detach() / 2
    assert float(expected.abs()) > 1e-9
    torch.testing.assert_close((slope * step).sum(), expected, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize(("name", "norm"), [case for case in VARIANTS if case[1] != "batch"])
def test_a_stack_computes_what_its_members_do_alone(name, norm):
    # In float64: norms over maps of four pixels blow the rounding of float32 up to any tolerance worth having.
    stack = NetworkStack(_build(name=name, norm=norm).double(), 2)
    stack.reset([torch.Generator().manual_seed(seed) for seed in range(2)])
    images = _images(2, 3, 1, 8, 8).double()
    for shown in (images, images[0]):
        logits = stack.forward(shown)
        logits.square().sum().backward()
        for index in range(2):
            network = _build(index, name=name, norm=norm).double()
            alone = network(shown if shown.ndim == 4 else shown[index])
            torch.testing.assert_close(logits[index], alone, atol=1e-9, rtol=1e-9)
    assert all(bool(parameter.grad.isfinite().all()) for parameter in stack.parameters)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_flat_vector_replaces_all_parameters(name):
    network, images = _build(0, name=name), _images(2, 1, 8, 8)
    other = _build(1, name=name)
    assert torch.equal(forward_flat(network, flatten_parameters(other), images), other(images))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_bfloat16_layers_between_float32_norms(name):
    """How matching methods lower the precision: layers converted, norms and tokens left."""
    network, images = _build(shape=(1, 16, 16), name=name), _images(2, 1, 16, 16)
    expected = network.embed(images)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)
    error = (network.embed(images.bfloat16()).float() - expected).norm() / expected.norm()
    assert float(error.detach()) < 0.1


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_the_global_generator_is_left_alone(name, norm):
    before = torch.get_rng_state()
    network = _build(name=name, norm=norm)
    network.reset_parameters(torch.Generator().manual_seed(3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_reset_draws_every_parameter_in_place_as_a_new_network_would_have_it(name, norm):
    network = _build(name=name, norm=norm)
    addresses = [parameter.data_ptr() for parameter in network.parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7.0)
    network.reset_parameters(torch.Generator().manual_seed(5))
    assert not bool((flatten_parameters(network) == 7).any())
    assert torch.equal(flatten_parameters(network), flatten_parameters(_build(5, name=name, norm=norm)))
    assert [parameter.data_ptr() for parameter in network.parameters()] == addresses


@pytest.mark.parametrize("name", sorted(MODELS))
def test_reset_does_not_depend_on_the_memory_format(name):
    network = _build(seed=0, name=name).to(memory_format=torch.channels_last)
    network.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(flatten_parameters(network), flatten_parameters(_build(seed=5, name=name)))


def test_reset_forgets_running_statistics():
    network = _build(norm="batch").train()
    network(torch.full((4, 1, 8, 8), 3.0))
    assert float(network.units[0].norm.running_mean.abs().max()) > 0
    network.reset_parameters(torch.Generator().manual_seed(0))
    assert float(network.units[0].norm.running_mean.abs().max()) == 0
    assert float(network.units[0].norm.running_var.min()) == 1


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("convnet", {"depth": 2, "width": 128, "norm": "instance", "activation": "relu", "pooling": "avg"}),
        ("mlp", {"depth": 2, "width": 128, "norm": "none", "activation": "relu"}),
        ("lenet", {"width": 6, "norm": "none", "activation": "relu", "pooling": "max"}),
        ("alexnet", {"width": 128, "norm": "none", "activation": "relu", "pooling": "max"}),
        ("vgg11", {"width": 64, "norm": "instance", "activation": "relu", "pooling": "max"}),
        ("resnet18", {"width": 64, "norm": "instance", "activation": "relu"}),
        ("resnet18-ap", {"width": 64, "norm": "instance", "activation": "relu"}),
        ("vit", {"depth": 4, "width": 128, "activation": "gelu"}),
    ],
)
def test_settings_left_out_are_the_published_ones(name, settings):
    images = _images(2, 1, 8, 8)
    left_out, spelt_out = (
        build_model(ModelConfig(name=name, **some), (1, 8, 8), 10, torch.Generator().manual_seed(0))
        for some in ({}, settings)
    )
    assert torch.equal(flatten_parameters(left_out), flatten_parameters(spelt_out))
    assert torch.equal(left_out(images), spelt_out(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mlp", "norm": "batch"}, r"model\.norm = 'batch': model 'mlp' takes none, layer"),
        ({"name": "mlp", "pooling": "avg"}, r"model\.pooling = 'avg': model 'mlp' has no choice of pooling"),
        ({"name": "vit", "norm": "batch"}, "model 'vit' has no choice of norm"),
        ({"name": "resnet18", "pooling": "avg"}, "model 'resnet18' has no choice of pooling"),
        ({"name": "resnet18", "depth": 3}, r"model\.depth = 3: the number of layers .* is fixed"),
        ({"name": "vgg11", "pooling": None}, "model 'vgg11' takes max, avg"),
        ({"name": "lenet", "width": 0}, r"model\.width = 0"),
        ({"name": "lenet", "norm": "spectral"}, r"model\.norm"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(ModelConfig, settings, "model")


def test_a_copied_configuration_is_checked_when_it_is_built():
    copied = ModelConfig(norm="batch").model_copy(update={"name": "vit"})
    with pytest.raises(ConfigError, match="model 'vit' has no choice of norm"):
        build_model(copied, (1, 8, 8), 10, torch.Generator())


def test_no_norm_can_be_asked_for_by_the_word_none():
    # The command line and null in JSON both arrive as None.
    assert build(ModelConfig, {"name": "resnet18", "norm": None}).norm == "none"


def test_bad_requests_name_the_choices():
    with pytest.raises(UnknownNameError, match=r"'convent'.*Did you mean 'convnet'"):
        _build(name="convent")
    with pytest.raises(ConfigError, match="at least 2"):
        build_model(ModelConfig(), (1, 8, 8), 1, torch.Generator())
    with pytest.raises(ConfigError, match="6 channels are no multiple of 4"):
        _build(name="resnet18", width=6, norm="group")


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg11", "resnet18", "resnet18-ap"])
def test_images_too_small_to_halve_twice_are_refused(name):
    assert _build(name=name, shape=(1, 4, 4))(_images(2, 1, 4, 4)).shape == (2, 10)
    with pytest.raises(ShapeError, match="4 x 4 pixels"):
        _build(name=name, shape=(1, 3, 8))
