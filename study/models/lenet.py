"""LeNet, with the ReLU and the pools that distillation papers give it."""

from __future__ import annotations

from study.models.chain import Chain, ChainLayer
from study.models.layers import (
    Activation,
    Norm,
    Pooling,
    scale_widths,
)

__all__ = ["LeNet"]


class LeNet(Chain):
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
        """As :class:`Chain`; ``width`` is the first layer's, and the others keep their proportion to it."""
        first, second, *hidden = scale_widths(width, (6, 16, 120, 84))
        sides = image_shape[1:]
        outer = [2 if side <= 28 else 0 for side in sides]
        reached = [(side + 2 * padding - 4) // 2 for side, padding in zip(sides, outer, strict=True)]
        inner = [2 if side < 8 else 0 for side in reached]
        layers = [
            ChainLayer(first, True, kernel=5, padding=(outer[0], outer[1])),
            ChainLayer(second, True, kernel=5, padding=(inner[0], inner[1])),
        ]
        super().__init__(
            image_shape, num_classes, layers, hidden, norm=norm, activation=activation, pooling=pooling
        )
