"""LeNet, AlexNet and VGG11, as distillation papers cut them down for small images."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from study.models.chain import Chain, ChainLayer
from study.models.layers import (
    LARGE_IMAGE,
    Activation,
    Norm,
    Pooling,
    check_image_shape,
    scale_widths,
    widen_28,
)

MIN_PIXELS = 4


class PublishedChain(Chain):
    """A chain of a fixed number of layers, whose published ``widths`` may be scaled together."""

    widths: ClassVar[tuple[int, ...]]
    published_norm: ClassVar[Norm] = "none"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int | None = None,
        norm: Norm | None = None,
        activation: Activation = "relu",
        pooling: Pooling = "max",
    ) -> None:
        check_image_shape(image_shape, MIN_PIXELS)
        layers, hidden = self._lay_out(image_shape, scale_widths(width or self.widths[0], self.widths))
        super().__init__(
            image_shape, num_classes, layers, hidden,
            norm=norm or self.published_norm, activation=activation, pooling=pooling,
        )  # fmt: skip

    @staticmethod
    @abstractmethod
    def _lay_out(image_shape: tuple[int, int, int], widths: list[int]) -> tuple[list[ChainLayer], list[int]]:
        """The convolutions, and the units of the hidden linear layers, at these widths."""


class AlexNet(PublishedChain):
    """Five convolutions of 128, 192, 256, 192 and 192 channels; pools after the first two and the last.

    Sides of 28 pixels are padded to 32. From 128 pixels a side the stem is the original one, 11×11 with
    stride 4; below it is 5×5 with stride 1.

    Source: Krizhevsky et al. 2012, cut down by Zhao et al. 2021 (DC) for images of 32 pixels.
    """

    widths = (128, 192, 256, 192, 192)

    @staticmethod
    def _lay_out(image_shape: tuple[int, int, int], widths: list[int]) -> tuple[list[ChainLayer], list[int]]:
        stem, second, *inner, last = widths
        if min(image_shape[1:]) >= LARGE_IMAGE:
            first = ChainLayer(stem, True, kernel=11, stride=4, padding=(2, 2))
        else:
            first = ChainLayer(stem, True, kernel=5, padding=widen_28(image_shape, 2))
        pooled = ChainLayer(second, True, kernel=5, padding=(2, 2))
        return [first, pooled, *(ChainLayer(channels) for channels in inner), ChainLayer(last, True)], []


class LeNet(PublishedChain):
    """Two 5×5 convolutions with 6 and 16 channels, then 120 and 84 hidden units.

    Sides of 28 pixels and fewer are padded by 2, and the second convolution too where fewer than 8 reach it.

    Source: LeCun et al. 1998, with ReLU and maximum pools, as Zhao et al. 2021 (DC) use it.
    """

    widths = (6, 16, 120, 84)

    @staticmethod
    def _lay_out(image_shape: tuple[int, int, int], widths: list[int]) -> tuple[list[ChainLayer], list[int]]:
        sides = image_shape[1:]
        outer = [2 if side <= 28 else 0 for side in sides]
        reached = [(side + 2 * padding - 4) // 2 for side, padding in zip(sides, outer, strict=True)]
        inner = [2 if side < 8 else 0 for side in reached]
        layers = [
            ChainLayer(channels, True, kernel=5, padding=(padding[0], padding[1]))
            for channels, padding in zip(widths[:2], (outer, inner), strict=True)
        ]
        return layers, widths[2:]


class VGG11(PublishedChain):
    """Eight 3×3 convolutions in five stages of 64, 128, 256, 512 and 512 channels, a pool after each.

    Sides of 28 pixels are padded to 32. Images below 32 pixels keep all eight convolutions and lose
    pools between them. There is one linear layer; from 64 pixels on it sees more than one pixel.

    Source: Simonyan & Zisserman 2015, as Zhao et al. 2021 (DC) use it, with instance norm.
    """

    widths = (64, 128, 256, 256, 512, 512, 512, 512)
    published_norm = "instance"

    @staticmethod
    def _lay_out(image_shape: tuple[int, int, int], widths: list[int]) -> tuple[list[ChainLayer], list[int]]:
        first, *others = widths
        pooled = (True, False, True, False, True, False, True)
        layers = [ChainLayer(channels, halves) for channels, halves in zip(others, pooled, strict=True)]
        return [ChainLayer(first, True, padding=widen_28(image_shape, 1)), *layers], []
