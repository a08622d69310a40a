"""ResNet18 and ResNet18-AP: published parameter counts, strides or averages, stems for every size."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from study.models.flat_params import num_parameters
from study.models.pool import ModelConfig, build_model


def _build(name="resnet18", shape=(3, 32, 32), num_classes=10, **settings):
    return build_model(
        ModelConfig(name=name, **settings), shape, num_classes, torch.Generator().manual_seed(0)
    )


def _count(channels, num_features, num_classes=10, stem=3, *, affine=True, bias=False):
    """Parameters of a stem, four stages of two blocks of two convolutions, and a linear layer."""
    convolutions = [(channels, 64, stem)]
    before = 64
    for width in (64, 128, 256, 512):
        convolutions += [(before, width, 3), (width, width, 3), (width, width, 3), (width, width, 3)]
        if before != width:
            convolutions.append((before, width, 1))
        before = width
    total = sum(a * b * kernel**2 for a, b, kernel in convolutions)
    total += sum((2 * affine + bias) * b for _, b, _ in convolutions)
    return total + num_features * num_classes + num_classes


@pytest.mark.parametrize(
    ("name", "shape", "settings", "expected"),
    [
        ("resnet18", (3, 32, 32), {}, _count(3, 512)),
        ("resnet18", (3, 32, 32), {"norm": "batch"}, _count(3, 512)),
        ("resnet18", (3, 32, 32), {"norm": "none"}, _count(3, 512, affine=False, bias=True)),
        ("resnet18", (1, 28, 28), {}, _count(1, 512)),
        ("resnet18", (3, 8, 8), {}, _count(3, 512)),
        ("resnet18", (3, 224, 224), {}, _count(3, 512, stem=7)),
        ("resnet18-ap", (3, 32, 32), {}, _count(3, 512 * 4 * 4)),
        ("resnet18-ap", (1, 28, 28), {}, _count(1, 512 * 3 * 3)),
    ],
)
def test_parameters_are_those_of_the_published_layers(name, shape, settings, expected):
    assert num_parameters(_build(name, shape, **settings)) == expected


@pytest.mark.parametrize(
    ("shape", "classes", "known"), [((3, 32, 32), 10, 11_173_962), ((3, 224, 224), 1000, 11_689_512)]
)
def test_parameters_are_the_number_others_report(shape, classes, known):
    assert num_parameters(_build("resnet18", shape, classes)) == known


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("resnet18", 8, [8, 4, 2, 2]),
        ("resnet18", 28, [32, 16, 8, 4]),
        ("resnet18", 32, [32, 16, 8, 4]),
        ("resnet18", 64, [64, 32, 16, 8]),
        ("resnet18", 224, [56, 28, 14, 7]),
        ("resnet18-ap", 8, [8, 4, 2, 2]),
        ("resnet18-ap", 28, [28, 14, 7, 3]),
        ("resnet18-ap", 32, [32, 16, 8, 4]),
        ("resnet18-ap", 224, [56, 28, 14, 7]),
    ],
)
def test_there_is_one_map_a_stage(name, size, sides):
    network = _build(name, (1, size, size), width=4)
    with torch.no_grad():
        maps = network.feature_maps(torch.zeros(1, 1, size, size))
    assert [(one.shape[1], one.shape[-1]) for one in maps] == list(zip([4, 8, 16, 32], sides, strict=True))


def test_resnet_averages_its_last_maps_and_the_variant_flattens_them():
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain, averaging = (_build(name, width=4) for name in ("resnet18", "resnet18-ap"))
    torch.testing.assert_close(plain.embed(images), plain.feature_maps(images)[-1].mean((2, 3)))
    torch.testing.assert_close(averaging.embed(images), averaging.feature_maps(images)[-1].flatten(1))


def test_the_variant_has_no_stride():
    strides = {
        name: {m.stride for m in _build(name, width=4).modules() if isinstance(m, nn.Conv2d)}
        for name in ("resnet18", "resnet18-ap")
    }
    assert strides == {"resnet18": {(1, 1), (2, 2)}, "resnet18-ap": {(1, 1)}}


@pytest.mark.parametrize("averages", [False, True])
def test_a_halving_block_is_the_sum_of_its_source(averages):
    network = _build("resnet18-ap" if averages else "resnet18", (3, 8, 8), width=4)
    block = network.stages[1][0]
    p = {name: parameter.detach() for name, parameter in block.named_parameters()}
    maps = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    stride = 1 if averages else 2
    pool = (lambda x: functional.avg_pool2d(x, 2)) if averages else (lambda x: x)
    x = functional.conv2d(maps, p["first.conv.weight"], stride=stride, padding=1)
    x = pool(functional.relu(functional.instance_norm(x)))
    x = functional.instance_norm(functional.conv2d(x, p["second.weight"], padding=1))
    beside = pool(functional.conv2d(maps, p["shortcut.0.weight"], stride=stride))
    expected = functional.relu(x + functional.instance_norm(beside))
    with torch.no_grad():
        torch.testing.assert_close(block(maps), expected)
