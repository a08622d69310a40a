"""LeNet, AlexNet and VGG11: published parameter counts, maps, and what small and large images change."""

import itertools

import pytest
import torch
from torch.nn import functional

from study.models.flat_params import num_parameters
from study.models.pool import ModelConfig, build_model


def _build(name, shape=(3, 32, 32), num_classes=10, **settings):
    return build_model(
        ModelConfig(name=name, **settings), shape, num_classes, torch.Generator().manual_seed(0)
    )


def _count(convolutions, linears, affine=False):
    """Weights and biases of (in, out, kernel) convolutions and (in, out) layers; norms have two a channel."""
    total = sum(a * b * kernel**2 + b for a, b, kernel in convolutions)
    total += sum(a * b + b for a, b in linears)
    return total + affine * sum(2 * b for _, b, _ in convolutions)


LENET = [(3, 6, 5), (6, 16, 5)]
ALEXNET = [(3, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)]
VGG_WIDTHS = [64, 128, 256, 256, 512, 512, 512, 512]
VGG11 = [(a, b, 3) for a, b in itertools.pairwise([3, *VGG_WIDTHS])]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("lenet", {}, _count(LENET, [(400, 120), (120, 84), (84, 10)])),
        ("lenet", {"norm": "batch"}, _count(LENET, [(400, 120), (120, 84), (84, 10)], affine=True)),
        ("alexnet", {}, _count(ALEXNET, [(3072, 10)])),
        ("alexnet", {"norm": "batch"}, _count(ALEXNET, [(3072, 10)], affine=True)),
        ("vgg11", {}, _count(VGG11, [(512, 10)], affine=True)),
        ("vgg11", {"norm": "none"}, _count(VGG11, [(512, 10)])),
    ],
)
def test_parameters_at_32_pixels_are_those_of_the_published_layers(name, settings, expected):
    assert num_parameters(_build(name, **settings)) == expected


@pytest.mark.parametrize(("name", "known"), [("lenet", 62_006), ("alexnet", 1_872_202), ("vgg11", 9_231_114)])
def test_parameters_are_the_number_others_report(name, known):
    assert num_parameters(_build(name)) == known


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lenet", [(6, 28, 28), (16, 10, 10)]),
        ("alexnet", [(128, 32, 32), (192, 16, 16), (256, 8, 8), (192, 8, 8), (192, 8, 8)]),
        ("vgg11", [*zip(VGG_WIDTHS, [32, 16, 8, 8, 4, 4, 2, 2], [32, 16, 8, 8, 4, 4, 2, 2], strict=True)]),
    ],
)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_maps_are_one_a_convolution_and_mnist_is_taken_as_32_pixels(name, expected, shape):
    network = _build(name, shape)
    with torch.no_grad():
        maps = network.feature_maps(torch.zeros(1, *shape))
    assert [tuple(one.shape[1:]) for one in maps] == expected


@pytest.mark.parametrize(
    ("name", "size", "sides", "features"),
    [
        ("lenet", 8, [8, 4], 84),
        ("lenet", 64, [60, 26], 84),
        ("alexnet", 8, [8, 4, 2, 2, 2], 192),
        ("alexnet", 64, [64, 32, 16, 16, 16], 192 * 8 * 8),
        ("alexnet", 224, [55, 27, 13, 13, 13], 192 * 6 * 6),
        ("vgg11", 8, [8, 4, 2, 2, 2, 2, 2, 2], 512),
        ("vgg11", 64, [64, 32, 16, 16, 8, 8, 4, 4], 512 * 2 * 2),
    ],
)
def test_small_images_lose_pools_and_large_ones_meet_a_larger_stem(name, size, sides, features):
    network = _build(name, (1, size, size))
    images = torch.zeros(1, 1, size, size)
    with torch.no_grad():
        assert [one.shape[-1] for one in network.feature_maps(images)] == sides
        assert network.embed(images).shape == (1, features)


@pytest.mark.parametrize("size", [8, 28, 32])
def test_vgg_has_the_same_parameters_on_small_images(size):
    shapes = [tuple(parameter.shape) for parameter in _build("vgg11", width=4).parameters()]
    assert [tuple(p.shape) for p in _build("vgg11", (3, size, size), width=4).parameters()] == shapes


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_the_embedding_is_the_last_map_pooled_and_flattened(name, pooling):
    network = _build(name, (1, 16, 16), width=8, pooling=pooling)
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    pool = functional.max_pool2d if pooling == "max" else functional.avg_pool2d
    expected = pool(network.feature_maps(images)[-1], 2).flatten(1)
    torch.testing.assert_close(network.embed(images), expected)


def test_lenet_is_the_network_of_its_source():
    network = _build("lenet", (1, 28, 28))
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    p = dict(network.named_parameters())
    x = functional.conv2d(images, p["units.0.conv.weight"], p["units.0.conv.bias"], padding=2)
    x = functional.max_pool2d(functional.relu(x), 2)
    x = functional.conv2d(x, p["units.1.conv.weight"], p["units.1.conv.bias"])
    x = functional.max_pool2d(functional.relu(x), 2).flatten(1)
    for index in (0, 2):
        x = functional.relu(functional.linear(x, p[f"hidden.{index}.weight"], p[f"hidden.{index}.bias"]))
    torch.testing.assert_close(network.embed(images), x)
    logits = functional.linear(x, p["classifier.weight"], p["classifier.bias"])
    torch.testing.assert_close(network(images), logits)


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("lenet", 12, [12, 32]),
        ("alexnet", 64, [64, 96, 128, 96, 96]),
        ("alexnet", 2, [2, 3, 4, 3, 3]),
        ("vgg11", 16, [16, 32, 64, 64, 128, 128, 128, 128]),
    ],
)
def test_width_is_the_first_layers_and_the_others_keep_their_proportion(name, width, expected):
    network = _build(name, width=width)
    assert [unit.conv.out_channels for unit in network.units] == expected
    assert name != "lenet" or [network.hidden[0].out_features, network.hidden[2].out_features] == [240, 168]
