"""Instance norm for uncompiled channels-last maps on the CPU, where torch's own is slow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MAX_SEGMENTS = 8
"""Sums of bfloat16 maps are rounded to bfloat16; adding a few partial ones in float32 averages that out."""
PIXELS_PER_SEGMENT = 32


class ChannelsLastInstanceNorm(nn.GroupNorm):
    """``GroupNorm`` with one channel a group: the same numbers, in a few passes over the map.

    torch normalises channels-last maps of 16x16 pixels and fewer channel by channel, 10 to 50 times
    slower than memory allows. Compiled code, other devices and other layouts keep torch's version.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps [n, C, h, w] with mean 0 and variance 1 over the pixels, then scaled and shifted."""
        handled = (
            not torch.compiler.is_compiling()
            and input.device.type == "cpu"
            and input.ndim == 4
            and input.is_contiguous(memory_format=torch.channels_last)
        )
        if not handled:
            return super().forward(input)
        normalised: Tensor = _InstanceNorm.apply(input, self.weight, self.bias, self.eps)
        return normalised


def replace_instance_norms(network: nn.Module) -> None:
    """Exchange every instance norm in a network for the quick one; parameters stay the same tensors."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.GroupNorm and child.num_groups == child.num_channels and child.affine:
                quick = ChannelsLastInstanceNorm(child.num_groups, child.num_channels, child.eps)
                quick.weight, quick.bias = child.weight, child.bias
                setattr(parent, name, quick.train(child.training))


class _InstanceNorm(torch.autograd.Function):
    """Forward and backward written out, so that neither keeps more than the input."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        mean, square = _spatial_mean(maps), _spatial_mean(maps * maps)
        inverse_std = torch.rsqrt((square - mean * mean).clamp_min_(0).add_(eps))
        scale = inverse_std * weight
        ctx.save_for_backward(maps, weight, mean, inverse_std)
        return torch.addcmul(_as_map(bias - mean * scale, maps), maps, _as_map(scale, maps))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        maps, weight, mean, inverse_std = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_mean = _spatial_mean(grad)
        # Mean over the pixels of gradient times normalised map.
        product = (_spatial_mean(grad * maps) - mean * grad_mean) * inverse_std
        scale = inverse_std * weight
        slope = -scale * inverse_std * product
        offset = -scale * grad_mean - slope * mean
        grad_maps = torch.addcmul(_as_map(offset, maps), maps, _as_map(slope, maps))
        grad_maps.addcmul_(grad, _as_map(scale, maps))
        num_pixels = maps.shape[2] * maps.shape[3]
        return grad_maps, product.sum(0) * num_pixels, grad_mean.sum(0) * num_pixels, None


def _spatial_mean(maps: Tensor) -> Tensor:
    """[n, C] mean over the pixels of channels-last maps, float32 where they have fewer bits."""
    if maps.dtype is not torch.bfloat16:
        return maps.mean((2, 3))
    num_images, channels, height, width = maps.shape
    segments = min(MAX_SEGMENTS, max(1, height * width // PIXELS_PER_SEGMENT))
    if height * width % segments:
        segments = 1
    pixels = maps.permute(0, 2, 3, 1).reshape(num_images, segments, -1, channels)
    return pixels.sum(2).float().sum(1).div_(height * width)


def _as_map(values: Tensor, maps: Tensor) -> Tensor:
    return values.to(maps.dtype)[:, :, None, None]
