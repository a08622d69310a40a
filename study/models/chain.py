"""Convolutions in a row, some of them halved, then linear layers: what ConvNet, LeNet, AlexNet and VGG11 share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from study.models.layers import (
    Activation,
    ConvUnit,
    Norm,
    Pooling,
    build_activation,
    build_pool,
    check_image_shape,
    scale_widths,
)
from study.models.network import Network

MIN_PIXELS = 4


@dataclass(frozen=True)
class ChainLayer:
    """One convolution of a chain, and whether a pool follows."""

    channels: int
    halves: bool = False
    kernel: int = 3
    stride: int = 1
    padding: tuple[int, int] = (1, 1)


class Chain(Network):
    """Convolutions, each with or without a pool behind it, then linear layers.

    A pool between convolutions is left out where fewer than 2 pixels a side would remain, since a norm
    within a channel would then return a constant.

    Flat parameter order: per convolution its weight and bias, norm weight and bias; then the linear layers.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        layers: Sequence[ChainLayer],
        hidden: Sequence[int] = (),
        *,
        norm: Norm,
        activation: Activation,
        pooling: Pooling,
    ) -> None:
        """Lay out the convolutions, then linear layers of ``hidden`` units, then the classifier."""
        super().__init__(image_shape, num_classes)
        check_image_shape(image_shape)
        channels, size = image_shape[0], (image_shape[1], image_shape[2])
        self.units = nn.ModuleList()
        self.pools = nn.ModuleList()
        for index, layer in enumerate(layers):
            unit = ConvUnit(
                channels, layer.channels, size, kernel=layer.kernel, stride=layer.stride,
                padding=layer.padding, norm=norm, activation=activation,
            )  # fmt: skip
            channels, size = layer.channels, unit.size
            halves = layer.halves and pooling != "none" and (index == len(layers) - 1 or min(size) >= 4)
            self.units.append(unit)
            self.pools.append(build_pool(pooling if halves else "none"))
            if halves:
                size = (size[0] // 2, size[1] // 2)
        num_features = channels * size[0] * size[1]
        dense: list[nn.Module] = []
        for num_units in hidden:
            dense += [nn.Linear(num_features, num_units), build_activation(activation)]
            num_features = num_units
        self.hidden = nn.Sequential(*dense)
        self.classifier = nn.Linear(num_features, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Features [n, d] that the classifier sees, after the last pool and the hidden linear layers."""
        for unit, pool in zip(self.units, self.pools, strict=True):
            images = pool(unit(images))
        features: Tensor = self.hidden(images.flatten(1))
        return features

    def observe(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Activations of every convolution, first to last, before pooling; and the embedding."""
        maps = []
        for unit, pool in zip(self.units, self.pools, strict=True):
            maps.append(unit(images))
            images = pool(maps[-1])
        return maps, self.hidden(images.flatten(1))


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
