"""What the convolutional networks are built of: convolution units, norms, activations, pools."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from study.core.errors import ConfigError, ShapeError

Norm = Literal["none", "batch", "layer", "instance", "group"]
Activation = Literal["relu", "sigmoid", "leaky_relu", "swish", "gelu"]
Pooling = Literal["avg", "max", "none"]

NUM_NORM_GROUPS = 4

LARGE_IMAGE = 128
"""Pixels a side from which on networks take the stems they were published with for ImageNet."""


class ConvUnit(nn.Module):
    """Convolution, norm, activation: one feature map."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        *,
        kernel: int = 3,
        stride: int = 1,
        padding: tuple[int, int] = (1, 1),
        norm: Norm,
        activation: Activation,
        bias: bool = True,
    ) -> None:
        """Lay out the layers for maps of ``size``, height and width, which a layer norm must know.

        ``padding`` are the zeros above and below, and left and right.
        """
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=bias)
        self.size = (
            (size[0] + 2 * padding[0] - kernel) // stride + 1,
            (size[1] + 2 * padding[1] - kernel) // stride + 1,
        )
        """Height and width of the outgoing maps."""
        self.norm = build_norm(norm, (out_channels, *self.size))
        self.activation = build_activation(activation)

    def forward(self, images: Tensor) -> Tensor:
        """Maps [n, out_channels, h, w]."""
        activated: Tensor = self.activation(self.norm(self.conv(images)))
        return activated


class AveragePool(nn.AvgPool2d):
    """2×2 average, stride 2, rounding down."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, input: Tensor) -> Tensor:
        """Maps of half the height and width."""
        # Uncompiled on the CPU, torch pools plain bfloat16 maps element by element; adding row pairs and
        # multiplying with a 0/¼ matrix does the same sums 3 to 5 times as fast, forwards and backwards.
        height, width = input.shape[-2:]
        plain = input.dtype is torch.bfloat16 and input.device.type == "cpu" and input.is_contiguous()
        if not plain or height % 2 or width % 2 or torch.compiler.is_compiling():
            return super().forward(input)
        rows = input.view(*input.shape[:2], height // 2, 2, width)
        pairs = torch.eye(width // 2, dtype=input.dtype).repeat_interleave(2, 0).mul_(0.25)
        return torch.matmul(rows[:, :, :, 0] + rows[:, :, :, 1], pairs)


_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
}
_POOLINGS: dict[Pooling, Callable[[], nn.Module]] = {
    "avg": AveragePool,
    "max": lambda: nn.MaxPool2d(2),
    "none": nn.Identity,
}


def build_activation(activation: Activation) -> nn.Module:
    """A nonlinearity that leaves its input unchanged."""
    return _ACTIVATIONS[activation]()


def build_pool(pooling: Pooling) -> nn.Module:
    """A 2×2 pool of stride 2 that rounds down, or nothing."""
    return _POOLINGS[pooling]()


def build_norm(norm: Norm, shape: tuple[int, int, int]) -> nn.Module:
    """The norm of maps [channels, height, width]; ConfigError for channels that make no norm groups."""
    channels = shape[0]
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "layer":
        return nn.LayerNorm(shape)
    if norm == "instance":
        # InstanceNorm2d has no scale and shift unless asked, and would keep running statistics apart.
        return nn.GroupNorm(channels, channels)
    if norm == "group":
        if channels % NUM_NORM_GROUPS:
            raise ConfigError(
                f"model.norm = 'group': {channels} channels are no multiple of {NUM_NORM_GROUPS}"
            )
        return nn.GroupNorm(NUM_NORM_GROUPS, channels)
    return nn.Identity()


def check_image_shape(image_shape: tuple[int, int, int], min_pixels: int = 1) -> None:
    """Raise ShapeError for images without a channel, or of too few pixels a side for an architecture."""
    if min(image_shape) < 1 or min(image_shape[1:]) < min_pixels:
        raise ShapeError(
            f"image shape {image_shape}: needs at least 1 channel and {min_pixels} x {min_pixels} pixels"
        )


def scale_widths(width: int, published: Iterable[int]) -> list[int]:
    """Channels of every layer where the first has ``width`` and the published proportions stay."""
    first, *others = published
    return [width, *(max(1, round(width * other / first)) for other in others)]


def widen_28(image_shape: tuple[int, int, int], padding: int) -> tuple[int, int]:
    """Padding of a first convolution: two pixels more on a side of 28, so that three halvings leave 4.

    The released code asks for one channel instead of 28 pixels, and so breaks on grey images of 32.
    """
    height, width = (padding + 2 if side == 28 else padding for side in image_shape[1:])
    return height, width
