"""LeNet, with the ReLU and the pools that distillation papers give it."""

from __future__ import annotations

from study.models.chain import ChainLayer, PublishedChain


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
