from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from study.core.errors import ConfigError, ShapeError
from study.methods.matching.attention import (
    AttentionFeatures,
    attention_layer_names,
    normalised_weights,
    spatial_attention,
)
from study.models.pool import ModelConfig, build_model


def random_features(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("power", [1, 2, 3.5, 4])
def test_maps_are_those_of_a_slow_numpy_loop(power: float) -> None:
    features = random_features(3, 5, 4, 6)
    maps = spatial_attention(features, power).numpy()
    for index, image in enumerate(features.numpy()):
        slow = np.zeros((4, 6))
        for channel in image:
            slow += np.abs(channel) ** power
        slow /= np.sqrt((slow**2).sum())
        np.testing.assert_allclose(maps[index], slow.ravel(), rtol=1e-12)


@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_map_has_length_one(power: float, dtype: torch.dtype) -> None:
    maps = spatial_attention(random_features(4, 8, 5, 5).to(dtype), power)
    assert maps.dtype is torch.float32
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(4))


def test_constant_features_attend_everywhere_alike_at_any_power() -> None:
    for power in (1.0, 2.0, 4.0, 16.0):
        maps = spatial_attention(torch.full((2, 3, 4, 4), 1.7), power)
        torch.testing.assert_close(maps, torch.full((2, 16), 0.25))


def test_a_common_factor_on_the_features_changes_nothing() -> None:
    features = random_features(2, 3, 4, 4)
    torch.testing.assert_close(spatial_attention(7.5 * features, 4), spatial_attention(features, 4))


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_gradient_agrees_with_finite_differences(power: float) -> None:
    features = random_features(2, 3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spatial_attention(x, power), (features,))


def test_a_silent_layer_gives_zeros_and_no_nan() -> None:
    features = torch.zeros(2, 3, 4, 4, requires_grad=True)
    maps = spatial_attention(features, 4)
    maps.sum().backward()
    assert not maps.any()
    assert features.grad is not None
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(4, 10), (4, 10, 3)])
def test_logits_are_refused_as_features(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ShapeError, match=r"attention needs feature maps \[n, channels, h, w\], got shape \(4, 10"
    ):
        spatial_attention(torch.zeros(shape), 4)


@pytest.mark.parametrize(
    ("layers", "sizes"), [("all-but-last", [1024, 256, 2048]), ("all", [1024, 256, 64, 2048])]
)
def test_mnist_network_has_the_published_layers(layers: Any, sizes: list[int]) -> None:
    network = build_model(ModelConfig(), (1, 28, 28), 10, torch.Generator().manual_seed(0))
    images = random_features(2, 1, 28, 28, dtype=torch.float32)
    assert [one.shape[1] for one in AttentionFeatures(1.0, layers)(network, images)] == sizes
    names = attention_layer_names(layers, ModelConfig(), (1, 28, 28))
    assert names == tuple(str(number) for number in range(1, len(sizes)))


def test_a_deep_network_has_a_map_for_each_block_but_the_last() -> None:
    assert attention_layer_names("all-but-last", ModelConfig(depth=7), (3, 224, 224)) == tuple("123456")


def test_a_network_without_a_hidden_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no attention layer left"):
        attention_layer_names("all-but-last", ModelConfig(depth=1), (1, 8, 8))


def test_only_ratios_of_weights_count() -> None:
    names = ("1", "2", "3")
    weights = normalised_weights({"1": 2.0, "2": 4.0, "3": 6.0}, names)
    assert weights == normalised_weights({"1": 0.1, "2": 0.2, "3": 0.3}, names) | weights
    assert weights == {"1": 0.5, "2": 1.0, "3": 1.5}
    assert sum(normalised_weights({"2": 9.0}, names).values()) == pytest.approx(3)
    assert normalised_weights({}, names) == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"4": 1.0}, r"layer_weights\.4: there is no such attention layer. Choices: 1, 2"),
        ({"1": 0, "2": 0}, "above 0"),
    ],
)
def test_impossible_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        normalised_weights(weights, ("1", "2"))
