"""How large the activations of a network are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from study.models.network import Network

__all__ = ["largest_map"]


@torch.no_grad()
def largest_map(network: Network) -> int:
    """Elements of the largest tensor that any module gives for one image; parameters and mode are left alone."""
    sizes = [0]

    def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    hooks = [module.register_forward_hook(measure) for module in network.modules()]
    training = network.training
    device = next(network.parameters()).device
    # Evaluation mode: batch norm would refuse a single image where a map has shrunk to one pixel.
    network.eval()(torch.zeros(1, *network.image_shape, device=device))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return max(sizes)
