"""ConvNet-D, the network most distillation papers train, match and evaluate with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.core.errors import ConfigError
from study.models.layers import (
    Activation,
    Norm,
    Pooling,
    build_activation,
    build_norm,
    build_pool,
    check_image_shape,
    widen_28,
)
from study.models.network import Network

__all__ = ["Activation", "ConvNet", "Norm", "Pooling", "default_depth"]

KERNEL_SIZE = 3


def default_depth(image_shape: tuple[int, int, int]) -> int:
    """Blocks that suit a resolution: 2 at 8, 3 at 28 and 32, 4 at 64, 5 at 128, 6 at 224 pixels."""
    return max(2, round(math.log2(min(image_shape[1:]))) - 2)


class ConvNet(Network):
    """``depth`` blocks of 3×3 convolution, norm, activation and 2×2 pooling, then one linear layer.

    Flat parameter order: per block convolution weight and bias, norm weight and bias; then the
    classifier's weight and bias.

    Source: Gidaris & Komodakis 2018, as used by Zhao et al. 2021 (DC) and their successors. The released
    code pads every one-channel image from its first convolution as if it were 28 pixels wide, and then
    counts the classifier's inputs for 32; here padding follows the actual size, so 32×32 grey images work.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        depth: int,
        width: int = 128,
        norm: Norm = "instance",
        activation: Activation = "relu",
        pooling: Pooling = "avg",
    ) -> None:
        """Lay out the layers with torch's own initialisation.

        Args:
            image_shape: channels, height, width of the images.
            num_classes: length of one row of logits.
            depth: number of blocks, at least 1.
            width: channels of every block.
            norm: ``instance`` is affine and keeps no running statistics; ``layer`` spans channels and pixels.
            activation: after the norm.
            pooling: 2×2 with stride 2, rounding down.

        Raises:
            ConfigError: the depth halves the image away, or the width does not divide into norm groups.
            ShapeError: the image has no pixel or no channel.
        """
        super().__init__(image_shape, num_classes)
        channels, height, width_pixels = image_shape
        check_image_shape(image_shape)
        if depth < 1:
            raise ConfigError(f"model.depth = {depth}: must be at least 1")
        blocks: list[nn.Module] = []
        for index in range(depth):
            padding = widen_28(image_shape, 1) if index == 0 else (1, 1)
            height += 2 * padding[0] - KERNEL_SIZE + 1
            width_pixels += 2 * padding[1] - KERNEL_SIZE + 1
            if pooling != "none" and min(height, width_pixels) < 2:
                raise ConfigError(
                    f"model.depth = {depth}: {image_shape[1]}x{image_shape[2]} pixels can be halved "
                    f"{index} times only; use depth {max(index, 1)} or less, or pooling 'none'"
                )
            shape = (width, height, width_pixels)
            blocks.append(_Block(channels, shape, padding, norm, activation, pooling))
            if pooling != "none":
                height, width_pixels = height // 2, width_pixels // 2
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(channels * height * width_pixels, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Features [n, width · h · w] after the last pool, flattened channel by channel."""
        for block in self.blocks:
            images = block(images)
        return images.flatten(1)

    def observe(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Activations of every block, first to last, before pooling; and the embedding."""
        maps = []
        for block in self.blocks:
            assert isinstance(block, _Block)
            activated = block.activate(images)
            maps.append(activated)
            images = block.pool(activated)
        return maps, images.flatten(1)

    def forward_stacked(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """As in the base class; the networks become groups of channels of one wide ConvNet.

        With norms inside a channel or a group of channels this is the same arithmetic, in far fewer
        and larger operations than one network after the other.
        """
        num_networks = len(parameters["classifier.weight"])
        if not all(isinstance(_norm_of(block), nn.GroupNorm | nn.Identity) for block in self.blocks):
            return super().forward_stacked(parameters, images)
        groups = 1 if images.ndim == 4 else num_networks
        features = images if images.ndim == 4 else images.transpose(0, 1).flatten(1, 2)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            weight = parameters[f"blocks.{index}.conv.weight"].flatten(0, 1)
            bias = parameters[f"blocks.{index}.conv.bias"].flatten()
            padding = (int(block.conv.padding[0]), int(block.conv.padding[1]))
            features = functional.conv2d(features, weight, bias, padding=padding, groups=groups)
            if isinstance(block.norm, nn.GroupNorm):
                scale = parameters[f"blocks.{index}.norm.weight"].flatten()
                shift = parameters[f"blocks.{index}.norm.bias"].flatten()
                norm_groups = num_networks * block.norm.num_groups
                features = functional.group_norm(features, norm_groups, scale, shift, block.norm.eps)
            features = block.pool(block.activation(features))
            groups = num_networks
        flat = features.reshape(len(features), num_networks, -1).transpose(0, 1)
        weight, bias = parameters["classifier.weight"], parameters["classifier.bias"]
        return torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2))


class _Block(nn.Module):
    """Convolution, norm, activation, pool."""

    def __init__(
        self,
        in_channels: int,
        shape: tuple[int, int, int],
        padding: tuple[int, int],
        norm: Norm,
        activation: Activation,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, shape[0], KERNEL_SIZE, padding=padding)
        self.norm = build_norm(norm, shape)
        self.activation = build_activation(activation)
        self.pool = build_pool(pooling)

    def activate(self, images: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.norm(self.conv(images)))
        return activated

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.activate(images))
        return pooled


def _norm_of(block: nn.Module) -> nn.Module:
    assert isinstance(block, _Block)
    return block.norm
