"""LeNet, AlexNet and VGG11: convolutions in a row, some of them halved, then linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from study.models.layers import (
    LARGE_IMAGE,
    Activation,
    ConvUnit,
    Norm,
    Pooling,
    build_activation,
    build_pool,
    check_image_shape,
    scale_widths,
    widen_28,
)
from study.models.network import Network

__all__ = ["VGG11", "AlexNet", "LeNet"]

MIN_PIXELS = 4


@dataclass(frozen=True)
class _Layer:
    """One convolution of a chain, and whether a pool follows."""

    channels: int
    halves: bool = False
    kernel: int = 3
    stride: int = 1
    padding: tuple[int, int] = (1, 1)


class _Chain(Network):
    """Convolutions, each with or without a pool behind it, then linear layers.

    A pool between convolutions is left out where fewer than 2 pixels a side would remain, since a norm
    within a channel would then return a constant. The last pool may leave a single pixel.

    Flat parameter order: per convolution its weight and bias, norm weight and bias; then the linear
    layers.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        layers: Sequence[_Layer],
        hidden: Sequence[int] = (),
        *,
        norm: Norm,
        activation: Activation,
        pooling: Pooling,
    ) -> None:
        """Lay out the layers with torch's own initialisation.

        Args:
            image_shape: channels, height, width of the images.
            num_classes: length of one row of logits.
            layers: the convolutions; the last one must be followed by a pool.
            hidden: units of the linear layers before the classifier.
            norm: of the convolutions.
            activation: after every layer but the classifier.
            pooling: 2×2 with stride 2, rounding down.

        Raises:
            ConfigError: a width does not divide into norm groups.
            ShapeError: the image is smaller than 4 x 4 pixels or has no channel.
        """
        super().__init__(image_shape, num_classes)
        check_image_shape(image_shape, MIN_PIXELS)
        channels, size = image_shape[0], (image_shape[1], image_shape[2])
        self.units = nn.ModuleList()
        self.pools = nn.ModuleList()
        for index, layer in enumerate(layers):
            unit = ConvUnit(
                channels,
                layer.channels,
                size,
                kernel=layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                norm=norm,
                activation=activation,
            )
            channels, size = layer.channels, unit.size
            halves = layer.halves and (index == len(layers) - 1 or min(size) >= 4)
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


class LeNet(_Chain):
    """Two 5×5 convolutions with 6 and 16 channels, then 120 and 84 hidden units.

    Sides of 28 pixels and fewer are padded by 2, and the second convolution is padded too where fewer
    than 8 pixels reach it. Larger images make the first linear layer larger, nothing else.

    Source: LeCun et al. 1998, with ReLU and maximum pools, as Zhao et al. 2021 (DC) use it.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int = 6,
        norm: Norm = "none",
        activation: Activation = "relu",
        pooling: Pooling = "max",
    ) -> None:
        """As :class:`_Chain`; ``width`` is the first layer's, and the others keep their proportion to it."""
        first, second, *hidden = scale_widths(width, (6, 16, 120, 84))
        sides = image_shape[1:]
        outer = [2 if side <= 28 else 0 for side in sides]
        reached = [(side + 2 * padding - 4) // 2 for side, padding in zip(sides, outer, strict=True)]
        inner = [2 if side < 8 else 0 for side in reached]
        layers = [
            _Layer(first, True, kernel=5, padding=(outer[0], outer[1])),
            _Layer(second, True, kernel=5, padding=(inner[0], inner[1])),
        ]
        super().__init__(
            image_shape, num_classes, layers, hidden, norm=norm, activation=activation, pooling=pooling
        )


class AlexNet(_Chain):
    """Five convolutions of 128, 192, 256, 192 and 192 channels; pools after the first two and the last.

    Sides of 28 pixels are padded to 32. From 128 pixels a side the stem is the original one, 11×11 with
    stride 4; below it is 5×5 with stride 1.

    Source: Krizhevsky et al. 2012, cut down by Zhao et al. 2021 (DC) for images of 32 pixels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int = 128,
        norm: Norm = "none",
        activation: Activation = "relu",
        pooling: Pooling = "max",
    ) -> None:
        """As :class:`_Chain`; ``width`` is the first layer's, and the others keep their proportion to it."""
        stem, second, *inner, last = scale_widths(width, (128, 192, 256, 192, 192))
        if min(image_shape[1:]) >= LARGE_IMAGE:
            first = _Layer(stem, True, kernel=11, stride=4, padding=(2, 2))
        else:
            first = _Layer(stem, True, kernel=5, padding=widen_28(image_shape, 2))
        layers = [
            first,
            _Layer(second, True, kernel=5, padding=(2, 2)),
            *(_Layer(channels) for channels in inner),
            _Layer(last, True),
        ]
        super().__init__(image_shape, num_classes, layers, norm=norm, activation=activation, pooling=pooling)


class VGG11(_Chain):
    """Eight 3×3 convolutions in five stages of 64, 128, 256, 512 and 512 channels, a pool after each.

    Sides of 28 pixels are padded to 32. Images below 32 pixels keep all eight convolutions and lose
    pools between them. There is one linear layer; from 64 pixels on it sees more than one pixel.

    Source: Simonyan & Zisserman 2015, as Zhao et al. 2021 (DC) use it, with instance norm.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int = 64,
        norm: Norm = "instance",
        activation: Activation = "relu",
        pooling: Pooling = "max",
    ) -> None:
        """As :class:`_Chain`; ``width`` is the first layer's, and the others keep their proportion to it."""
        a, b, c, d = scale_widths(width, (64, 128, 256, 512))
        layers = [
            _Layer(a, True, padding=widen_28(image_shape, 1)),
            _Layer(b, True),
            _Layer(c),
            _Layer(c, True),
            _Layer(d),
            _Layer(d, True),
            _Layer(d),
            _Layer(d, True),
        ]
        super().__init__(image_shape, num_classes, layers, norm=norm, activation=activation, pooling=pooling)
