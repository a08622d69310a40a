"""VGG11 with one linear layer."""

from __future__ import annotations

from study.models.chain import Chain, ChainLayer
from study.models.layers import (
    Activation,
    Norm,
    Pooling,
    scale_widths,
    widen_28,
)

__all__ = ["VGG11"]


class VGG11(Chain):
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
        """As :class:`Chain`; ``width`` is the first layer's, and the others keep their proportion to it."""
        a, b, c, d = scale_widths(width, (64, 128, 256, 512))
        layers = [
            ChainLayer(a, True, padding=widen_28(image_shape, 1)),
            ChainLayer(b, True),
            ChainLayer(c),
            ChainLayer(c, True),
            ChainLayer(d),
            ChainLayer(d, True),
            ChainLayer(d),
            ChainLayer(d, True),
        ]
        super().__init__(image_shape, num_classes, layers, norm=norm, activation=activation, pooling=pooling)
