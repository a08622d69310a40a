"""AlexNet, cut down for small images."""

from __future__ import annotations

from study.models.chain import ChainLayer, PublishedChain
from study.models.layers import (
    LARGE_IMAGE,
    widen_28,
)


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
