"""ConvNet-D: shapes and counts of every variant, the right padding, and blocks that can be looked into."""

import math

import pytest
import torch
from torch.nn import functional

from study.core.errors import ConfigError, ShapeError
from study.models.convnet import ConvNet, default_depth
from study.models.flat_params import num_parameters
from study.models.pool import ModelConfig, build_model


def _network(shape=(3, 32, 32), num_classes=10, **settings):
    return build_model(ModelConfig(**settings), shape, num_classes, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "depth", "num_classes", "expected"),
    [((3, 32, 32), 3, 10, 320_010), ((1, 28, 28), 3, 10, 317_706), ((3, 224, 224), 7, 2, 891_138)],
    ids=["cifar10", "mnist", "mhist"],
)
def test_published_networks_have_the_published_number_of_parameters(shape, depth, num_classes, expected):
    assert num_parameters(_network(shape, num_classes, depth=depth)) == expected


@pytest.mark.parametrize(("size", "depth"), [(8, 2), (28, 3), (32, 3), (64, 4), (128, 5), (224, 6)])
def test_depth_follows_the_resolution(size, depth):
    assert default_depth((1, size, size)) == depth
    assert len(_network((1, size, size), width=4).units) == depth


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 32, 64, 224])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_every_size_reaches_the_classifier(channels, size, pooling):
    network = _network((channels, size, size), 5, width=8, pooling=pooling)
    images = torch.zeros(2, channels, size, size)
    assert network(images).shape == (2, 5)
    reached = (32 if size == 28 else size) // 2 ** default_depth(images.shape[1:])
    assert network.embed(images).shape == (2, 8 * reached**2)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "group"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "leaky_relu", "swish"])
@pytest.mark.parametrize("pooling", ["avg", "max", "none"])
def test_every_variant_computes_something_of_its_own(norm, activation, pooling):
    settings = {"norm": norm, "activation": activation, "pooling": pooling}
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    logits = _network((1, 8, 8), width=8, **settings)(images)
    assert logits.isfinite().all()
    other = {**settings, "norm": "none" if norm == "instance" else "instance"}
    assert not torch.allclose(logits, _network((1, 8, 8), width=8, **other)(images), atol=1e-4)


def test_grey_images_of_32_pixels_keep_their_size():
    assert _network((1, 32, 32)).embed(torch.zeros(1, 1, 32, 32)).shape == (1, 2048)


def test_images_need_not_be_square():
    network = _network((3, 28, 64), width=4, depth=3)
    assert network.embed(torch.zeros(1, 3, 28, 64)).shape == (1, 4 * 4 * 8)


def test_instance_norm_is_affine_and_the_same_in_training_and_evaluation():
    network = _network((1, 8, 8), width=4)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    trained, alone = network.train()(images), network.eval()(images[:1])
    torch.testing.assert_close(trained[:1], alone)
    expected = functional.instance_norm(network.units[0].conv(images))
    torch.testing.assert_close(network.units[0].norm(network.units[0].conv(images)), expected)
    assert [name for name, _ in network.units[0].norm.named_parameters()] == ["weight", "bias"]


def test_maps_and_embedding_of_one_pass_are_those_of_two():
    network = _network((1, 8, 8), depth=2, width=8)
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps, embedding = network.observe(images)
    assert all(torch.equal(a, b) for a, b in zip(maps, network.feature_maps(images), strict=True))
    assert torch.equal(embedding, network.embed(images))


def test_feature_maps_are_the_activations_before_pooling():
    network = _network((3, 32, 32), width=8)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    maps = network.feature_maps(images)
    assert [tuple(one.shape) for one in maps] == [(2, 8, 32, 32), (2, 8, 16, 16), (2, 8, 8, 8)]
    assert all(bool((one >= 0).all()) for one in maps)
    torch.testing.assert_close(functional.avg_pool2d(maps[-1], 2).flatten(1), network.embed(images))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 8), (32, 16)])
def test_bfloat16_pooling_is_average_pooling(height, width):
    pool = _network((1, 8, 8), width=4).pools[0]
    maps = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(1))
    low = maps.bfloat16().requires_grad_()
    expected = functional.avg_pool2d(maps, 2)
    torch.testing.assert_close(pool(low).float(), expected, atol=0.02, rtol=0.02)
    pool(low).sum().backward()
    used = torch.zeros(height, width)
    used[: height // 2 * 2, : width // 2 * 2] = 0.25
    torch.testing.assert_close(low.grad[0, 0].float(), used)


@pytest.mark.parametrize(("shape", "depth"), [((1, 8, 8), 4), ((3, 224, 224), 8), ((1, 28, 28), 6)])
def test_a_depth_that_leaves_no_pixel_is_refused(shape, depth):
    _network(shape, depth=depth - 1, width=4)
    with pytest.raises(ConfigError, match=rf"model.depth = {depth}.*use depth {depth - 1}"):
        _network(shape, depth=depth, width=4)


def test_impossible_networks_are_refused():
    with pytest.raises(ConfigError, match="multiple of 4"):
        _network(width=6, norm="group")
    with pytest.raises(ConfigError, match="depth = 0"):
        ConvNet((1, 8, 8), 10, depth=0)
    with pytest.raises(ShapeError, match="at least 1"):
        ConvNet((0, 8, 8), 10, depth=1)


def test_parameters_lie_in_the_documented_order():
    block = ["conv.weight", "conv.bias", "norm.weight", "norm.bias"]
    expected = [f"units.{i}.{name}" for i in range(3) for name in block]
    expected += ["classifier.weight", "classifier.bias"]
    assert [name for name, _ in _network().named_parameters()] == expected


def test_initial_parameters_are_distributed_as_torch_draws_them():
    network = _network((3, 32, 32))
    for layer in (network.units[0].conv, network.units[2].conv, network.classifier):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for tensor in (layer.weight, layer.bias):
            largest = float(tensor.detach().abs().max())
            assert 0.7 * bound < largest <= bound
        assert float(layer.weight.detach().mean()) == pytest.approx(0, abs=0.05 * bound)
        assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert bool((network.units[1].norm.weight == 1).all())
    assert bool((network.units[1].norm.bias == 0).all())
