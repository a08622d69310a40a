"""ConvNet-D, the network most distillation papers train, match and evaluate with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.core.errors import ConfigError
from study.models.chain import Chain, ChainLayer
from study.models.layers import Activation, ConvUnit, Norm, Pooling, check_image_shape, widen_28


def default_depth(image_shape: tuple[int, int, int]) -> int:
    """Blocks that suit a resolution: 2 at 8, 3 at 28 and 32, 4 at 64, 5 at 128, 6 at 224 pixels."""
    return max(2, round(math.log2(min(image_shape[1:]))) - 2)


class ConvNet(Chain):
    """``depth`` blocks of 3×3 convolution, norm, activation and 2×2 pooling, then one linear layer.

    Source: Gidaris & Komodakis 2018, as used by Zhao et al. 2021 (DC) and their successors. Padding follows
    the size of the image and not, as in the released code, its number of channels; so 32×32 grey images work.
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
        check_image_shape(image_shape)
        if depth < 1:
            raise ConfigError(f"model.depth = {depth}: must be at least 1")
        padding = widen_28(image_shape, 1)
        side = min(size + 2 * zeros - 2 for size, zeros in zip(image_shape[1:], padding, strict=True))
        halvings = side.bit_length() - 1
        if pooling != "none" and halvings < depth:
            raise ConfigError(
                f"model.depth = {depth}: {image_shape[1]}x{image_shape[2]} pixels can be halved "
                f"{halvings} times only; use depth {max(halvings, 1)} or less, or pooling 'none'"
            )
        layers = [ChainLayer(width, True, padding=padding), *[ChainLayer(width, True)] * (depth - 1)]
        super().__init__(image_shape, num_classes, layers, norm=norm, activation=activation, pooling=pooling)

    def forward_stacked(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """As in the base class; the networks become groups of channels of one wide ConvNet.

        With norms inside a channel or a group this is the same arithmetic in far fewer and larger operations.
        """
        num_networks = len(parameters["classifier.weight"])
        if not all(isinstance(unit.norm, nn.GroupNorm | nn.Identity) for unit in self.units):
            return super().forward_stacked(parameters, images)
        groups = 1 if images.ndim == 4 else num_networks
        features = images if images.ndim == 4 else images.transpose(0, 1).flatten(1, 2)
        for index, (unit, pool) in enumerate(zip(self.units, self.pools, strict=True)):
            assert isinstance(unit, ConvUnit)
            weight = parameters[f"units.{index}.conv.weight"].flatten(0, 1)
            bias = parameters[f"units.{index}.conv.bias"].flatten()
            padding = (int(unit.conv.padding[0]), int(unit.conv.padding[1]))
            features = functional.conv2d(features, weight, bias, padding=padding, groups=groups)
            if isinstance(unit.norm, nn.GroupNorm):
                scale = parameters[f"units.{index}.norm.weight"].flatten()
                shift = parameters[f"units.{index}.norm.bias"].flatten()
                norm_groups = num_networks * unit.norm.num_groups
                features = functional.group_norm(features, norm_groups, scale, shift, unit.norm.eps)
            features = pool(unit.activation(features))
            groups = num_networks
        flat = features.reshape(len(features), num_networks, -1).transpose(0, 1)
        weight, bias = parameters["classifier.weight"], parameters["classifier.bias"]
        return torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2))
