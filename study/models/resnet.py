"""ResNet18, and its variant that averages where the original takes strides."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from study.models.layers import (
    LARGE_IMAGE,
    Activation,
    ConvUnit,
    Norm,
    build_activation,
    build_norm,
    check_image_shape,
    scale_widths,
    widen_28,
)
from study.models.network import Network

PUBLISHED_WIDTHS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2
MIN_PIXELS = 4


class _ResNet(Network):
    """A stem, four stages of two residual blocks, and one linear layer.

    Every stage but the first halves its maps, except where fewer than 2 pixels a side would remain,
    since a norm within a channel would then return a constant. Without a norm convolutions have a bias.
    """

    averages: ClassVar[bool]
    """Halve by averaging pixels instead of strides, and flatten the last maps instead of averaging them."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int = 64,
        norm: Norm = "instance",
        activation: Activation = "relu",
    ) -> None:
        super().__init__(image_shape, num_classes)
        check_image_shape(image_shape, MIN_PIXELS)
        averages = self.averages
        self.stem, self.stem_pool, size = _stem(image_shape, width, norm, activation, averages)
        channels = width
        self.stages = nn.ModuleList()
        for index, wider in enumerate(scale_widths(width, PUBLISHED_WIDTHS)):
            stage = nn.Sequential()
            for number in range(BLOCKS_PER_STAGE):
                halves = index > 0 and number == 0 and min(size) >= 4
                block = _ResidualBlock(channels, wider, size, halves, norm, activation, averages)
                stage.append(block)
                channels, size = wider, block.size
            self.stages.append(stage)
        num_features = channels * size[0] * size[1] if averages else channels
        self.classifier = nn.Linear(num_features, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Features [n, d] of the last stage: averaged over its pixels, or in the AP variant flattened."""
        images = self.stem_pool(self.stem(images))
        for stage in self.stages:
            images = stage(images)
        return self._gather(images)

    def observe(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Activations at the end of every stage, first to last, the stem apart; and the embedding."""
        images = self.stem_pool(self.stem(images))
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps, self._gather(images)

    def _gather(self, maps: Tensor) -> Tensor:
        return maps.flatten(1) if self.averages else maps.mean((2, 3))


class ResNet18(_ResNet):
    """ResNet18 for small images: a 3×3 stem without a pool, strided convolutions, a global average.

    Sides of 28 pixels are padded to 32; images below 32 pixels take fewer strides. From 128 pixels a side the
    stem is the original one, 7×7 with stride 2 and a 3×3 maximum pool.

    Source: He et al. 2016, as Zhao et al. 2021 (DC) use it, with instance norm.
    """

    averages = False


class ResNet18AP(_ResNet):
    """ResNet18 that halves by 2×2 averages behind plain convolutions and flattens its last maps.

    Images below 32 pixels take fewer halvings, with all layers in place; sides of 28 are not padded.
    From 128 pixels a side a 4×4 average follows the stem.

    Source: Cazenave et al. 2022 (MTT), after Zhao & Bilen 2021 (DSA), with instance norm.
    """

    averages = True


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; ``size`` is the height and width that leave it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        halves: bool,
        norm: Norm,
        activation: Activation,
        averages: bool,
    ) -> None:
        super().__init__()
        bias = norm == "none"
        stride = 2 if halves and not averages else 1
        self.first = ConvUnit(
            in_channels, out_channels, size, stride=stride, norm=norm, activation=activation, bias=bias
        )
        self.pool = nn.AvgPool2d(2) if halves and averages else nn.Identity()
        self.size = (size[0] // 2, size[1] // 2) if halves and averages else self.first.size
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        self.second_norm = build_norm(norm, (out_channels, *self.size))
        self.shortcut: nn.Module = nn.Identity()
        if halves or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=bias),
                nn.AvgPool2d(2) if halves and averages else nn.Identity(),
                build_norm(norm, (out_channels, *self.size)),
            )
        self.activation = build_activation(activation)

    def forward(self, images: Tensor) -> Tensor:
        changed = self.second_norm(self.second(self.pool(self.first(images))))
        summed: Tensor = self.activation(changed + self.shortcut(images))
        return summed


def _stem(
    image_shape: tuple[int, int, int], width: int, norm: Norm, activation: Activation, averages: bool
) -> tuple[ConvUnit, nn.Module, tuple[int, int]]:
    """First convolution, what follows it, and the height and width that leave both."""
    channels, height, pixels = image_shape
    large, bias = min(height, pixels) >= LARGE_IMAGE, norm == "none"
    kernel, stride = (7, 2) if large and not averages else (3, 1)
    padding = (kernel // 2, kernel // 2) if large or averages else widen_28(image_shape, 1)
    stem = ConvUnit(
        channels, width, (height, pixels), kernel=kernel, stride=stride, padding=padding,
        norm=norm, activation=activation, bias=bias,
    )  # fmt: skip
    if not large:
        return stem, nn.Identity(), stem.size
    if averages:
        return stem, nn.AvgPool2d(4), (stem.size[0] // 4, stem.size[1] // 4)
    return stem, nn.MaxPool2d(3, 2, padding=1), ((stem.size[0] + 1) // 2, (stem.size[1] + 1) // 2)
