"""Spatial attention maps of convolutional features, and how much each layer's map counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from study.core.errors import ConfigError, ShapeError
from study.models.network import Network
from study.models.pool import ModelConfig, build_model

AttentionLayers = Literal["all-but-last", "all"]


def spatial_attention(features: Tensor, power: float) -> Tensor:
    """Where a layer is active: [n, channels, h, w] with channels summed away, one unit vector an image.

    ``power``, at least 1, is the exponent of the absolute activations; larger ones favour the strongest
    channel. Gives [n, h · w] float32 (float64 for float64), zeros where the whole layer is silent. Raises
    ShapeError without height and width: summed over its only axis, an embedding would give the constant 1.

    Source: Sajedi et al. 2023 (DataDAM), equation 2, after Zagoruyko and Komodakis 2017.
    """
    if features.ndim != 4:
        raise ShapeError(
            f"attention needs feature maps [n, channels, h, w], got shape {tuple(features.shape)}; "
            "logits and flattened embeddings have no spatial attention"
        )
    wide = features if features.dtype is torch.float64 else features.float()
    # Squaring is many times faster than a general power.
    if power == 1:
        energy = wide.abs()
    elif power in {2, 4}:
        energy = wide.square() if power == 2 else wide.square().square()
    else:
        energy = wide.abs().pow(power)
    return functional.normalize(energy.sum(1).flatten(1), dim=1)


@dataclass(frozen=True)
class AttentionFeatures:
    """Attention maps of a network's layers, then its embedding; for ``RandomFeatures``.

    ``layers`` are the published ``all-but-last``, whose last layer counts through the embedding, or ``all``.
    """

    power: float
    layers: AttentionLayers = "all-but-last"

    def __call__(self, network: Network, images: Tensor) -> tuple[Tensor, ...]:
        """[n, h · w] for each attention layer, then [n, d]."""
        maps, embedding = network.observe(images)
        return (*(spatial_attention(one, self.power) for one in _chosen(maps, self.layers)), embedding)


def attention_layer_names(
    layers: AttentionLayers, model: ModelConfig, image_shape: tuple[int, int, int]
) -> tuple[str, ...]:
    """Names ``1``, ``2``, ... of a network's attention layers; ConfigError where there is none."""
    # Only shapes are wanted, so nothing is computed.
    network = build_model(model, image_shape, 2, device="meta")
    maps = network.feature_maps(torch.empty(2, *image_shape, device="meta"))
    number = len(_chosen(maps, layers))
    if number == 0:
        raise ConfigError(
            f"model {model.name!r} of depth {len(maps)} has no attention layer left; "
            "use distill.attention_layers = 'all', or a deeper network"
        )
    return tuple(str(index) for index in range(1, number + 1))


def normalised_weights(weights: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """Weights of all named layers with mean 1: their common scale belongs to the loss; missing ones weigh 1.

    Raises ConfigError where a weight is given for a layer that is not there, or all are 0.
    """
    for name in weights:
        if name not in names:
            raise ConfigError(
                f"distill.layer_weights.{name}: there is no such attention layer. Choices: {', '.join(names)}"
            )
    raw = [weights.get(name, 1.0) for name in names]
    if sum(raw) <= 0:
        raise ConfigError("distill.layer_weights: at least one layer needs a weight above 0")
    return {name: weight * len(raw) / sum(raw) for name, weight in zip(names, raw, strict=True)}


def _chosen(maps: list[Tensor], layers: AttentionLayers) -> list[Tensor]:
    return maps if layers == "all" else maps[:-1]
