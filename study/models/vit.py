"""A small vision transformer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.core.errors import ConfigError
from study.models.layers import Activation, build_activation, check_image_shape
from study.models.network import LearnedTokens, Network

UNITS_PER_HEAD = 32
EXPANSION = 2
"""Units of the feed-forward layer per unit of a token."""


def default_patch(image_shape: tuple[int, int, int]) -> int:
    """Pixels a side of a patch: 2 below 16 pixels, 4 below 64, 8 below 128, 16 from there on."""
    side = min(image_shape[1:])
    for limit, patch in ((16, 2), (64, 4), (128, 8)):
        if side < limit:
            return patch
    return 16


class VisionTransformer(Network):
    """Square patches as tokens, pre-norm encoder blocks, and a linear layer on the class token.

    One attention head for every 32 units of a token. Sides that the patch (:func:`default_patch`) does not
    divide are padded with zeros on the right and below. No feature maps, no dropout.

    Source: Dosovitskiy et al. 2021, in the size that Hassani et al. 2021 call ViT-Lite for images of 32
        pixels (learned positions, feed-forward layers of twice the width), with 4 blocks of width 128
        instead of 6 or 7 of 256.
    """

    name = "vit"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        depth: int = 4,
        width: int = 128,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__(image_shape, num_classes)
        check_image_shape(image_shape, 2)
        if depth < 1:
            raise ConfigError(f"model.depth = {depth}: must be at least 1")
        num_heads = max(1, width // UNITS_PER_HEAD)
        if width % num_heads:
            raise ConfigError(
                f"model.width = {width}: must be below {2 * UNITS_PER_HEAD} or a multiple of {UNITS_PER_HEAD}"
            )
        self._patch = default_patch(image_shape)
        num_patches = math.ceil(image_shape[1] / self._patch) * math.ceil(image_shape[2] / self._patch)
        self.patches = nn.Conv2d(image_shape[0], width, self._patch, self._patch)
        self.class_token = LearnedTokens(1, width)
        self.positions = LearnedTokens(num_patches + 1, width)
        self.blocks = nn.ModuleList(_EncoderBlock(width, num_heads, activation) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """The class token [n, width] after the last block and norm."""
        height, width = images.shape[-2:]
        images = functional.pad(images, (0, -width % self._patch, 0, -height % self._patch))
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        first = self.class_token.weight.to(tokens.dtype).expand(len(tokens), 1, -1)
        # Positions follow the type of the tokens, so that a network may run in reduced precision.
        tokens = torch.cat([first, tokens], 1) + self.positions.weight.to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens[:, 0])
        return features


class _EncoderBlock(nn.Module):
    """Self-attention, then two linear layers for each token, both with a norm before and a sum after."""

    def __init__(self, width: int, num_heads: int, activation: Activation) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, EXPANSION * width),
            build_activation(activation),
            nn.Linear(EXPANSION * width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attend(self.attention_norm(tokens))
        forwarded: Tensor = tokens + self.feed_forward(tokens)
        return forwarded

    def _attend(self, tokens: Tensor) -> Tensor:
        # Written out: torch's fused attention has no second derivative, which gradient matching takes.
        num_images, num_tokens, width = tokens.shape
        split = self.queries_keys_values(tokens).view(num_images, num_tokens, 3, self._num_heads, -1)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        attended = scores.softmax(-1).to(values.dtype) @ values
        projected: Tensor = self.project(attended.transpose(1, 2).reshape(num_images, num_tokens, width))
        return projected
