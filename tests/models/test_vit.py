"""The vision transformer: patches at every size, attention as its definition, and its own parameters drawn."""

import math

import pytest
import torch

from study.core.errors import ConfigError, ShapeError
from study.models.flat_params import num_parameters
from study.models.pool import ModelConfig, build_model
from study.models.vit import VisionTransformer, default_patch


def _build(shape=(1, 8, 8), **settings):
    return build_model(ModelConfig(name="vit", **settings), shape, 10, torch.Generator().manual_seed(0))


def _images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("size", "patch", "tokens"), [(8, 2, 16), (28, 4, 49), (32, 4, 64), (64, 8, 64), (224, 16, 196)]
)
def test_the_patch_follows_the_resolution(size, patch, tokens):
    assert default_patch((1, size, size)) == patch
    assert _build((1, size, size), width=4).positions.weight.shape == (tokens + 1, 4)


def test_parameters_are_those_of_its_layers():
    width, tokens = 128, 64
    linear = 3 * width * width + 3 * width  # queries, keys, values
    linear += width * width + width  # projection
    linear += 2 * width * width + 2 * width + 2 * width * width + width  # feed-forward
    block = linear + 2 * 2 * width
    patches = 3 * 4 * 4 * width + width
    expected = patches + width + (tokens + 1) * width + 4 * block + 2 * width + 10 * width + 10
    assert num_parameters(_build((3, 32, 32))) == expected


@pytest.mark.parametrize("width", [16, 64])
def test_attention_is_its_definition(width):
    block = _build(width=width).blocks[0]
    tokens, heads, size = _images(2, 5, width), max(1, width // 32), width // max(1, width // 32)
    p = {name: parameter.detach() for name, parameter in block.named_parameters()}
    expected = torch.zeros_like(tokens)
    for image in range(2):
        mixed = tokens[image] @ p["queries_keys_values.weight"].T + p["queries_keys_values.bias"]
        q, k, v = mixed.split(width, dim=1)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weights = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(size), dim=1)
            expected[image, :, part] = weights @ v[:, part]
    expected = expected @ p["project.weight"].T + p["project.bias"]
    with torch.no_grad():
        torch.testing.assert_close(block._attend(tokens), expected)


def test_the_order_of_patches_matters_through_positions_alone():
    network, images = _build(width=16), _images(1, 1, 8, 8)
    swapped = torch.cat([images[..., 4:], images[..., :4]], -1)
    with torch.no_grad():
        before = network(images), network(swapped)
        assert not torch.allclose(*before, atol=1e-6)
        network.positions.weight.zero_()
        torch.testing.assert_close(network(images), network(swapped))


def test_pixels_beyond_the_last_whole_patch_count():
    network, images = _build((1, 9, 11), width=16), _images(1, 1, 9, 11)
    changed = images.clone()
    changed[..., -1, -1] += 1
    assert network.positions.weight.shape == (5 * 6 + 1, 16)
    assert not torch.allclose(network(images), network(changed), atol=1e-6)


def test_tokens_start_with_the_documented_deviation():
    weight = _build((1, 32, 32)).positions.weight.detach()
    assert float(weight.std()) == pytest.approx(0.02, rel=0.03)
    assert float(weight.abs().max()) <= 0.02 * math.sqrt(3)


def test_depth_and_width_are_blocks_and_units():
    network = _build(depth=2, width=64)
    assert len(network.blocks) == 2
    assert network.embed(_images(3, 1, 8, 8)).shape == (3, 64)


def test_impossible_networks_are_refused():
    with pytest.raises(ConfigError, match=r"model.width = 100: must be below 64 or a multiple of 32"):
        _build(width=100)
    with pytest.raises(ConfigError, match="depth = 0"):
        VisionTransformer((1, 8, 8), 10, depth=0)
    with pytest.raises(ShapeError, match="2 x 2 pixels"):
        _build((1, 1, 8))
