"""VGG11 with one linear layer."""

from __future__ import annotations

from study.models.chain import ChainLayer, PublishedChain
from study.models.layers import (
    widen_28,
)


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
