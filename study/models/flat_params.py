"""A network's parameters as one vector: what trajectories, experts and stacked seeds are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from study.core.errors import ShapeError


def num_parameters(network: nn.Module) -> int:
    """Length D of the flat parameter vector."""
    return sum(parameter.numel() for parameter in network.parameters())


def flatten_parameters(network: nn.Module) -> Tensor:
    """All parameters in registration order as a new, detached vector [D]; buffers are left out."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


def unflatten_parameters(flat: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """Cut a flat vector [..., D] into views [..., *shape] by parameter name; gradient flows.

    Raises ShapeError where the last axis is not D long.
    """
    named = dict(network.named_parameters())
    sizes = [parameter.numel() for parameter in named.values()]
    if flat.shape[-1:] != (sum(sizes),):
        raise ShapeError(f"flat parameters have shape {tuple(flat.shape)}, expected [..., {sum(sizes)}]")
    pieces = torch.split(flat, sizes, dim=-1)
    leading = flat.shape[:-1]
    return {
        name: piece.reshape(*leading, *parameter.shape)
        for (name, parameter), piece in zip(named.items(), pieces, strict=True)
    }


def forward_flat(network: nn.Module, flat: Tensor, images: Tensor) -> Tensor:
    """Logits [n, classes] of the network with the parameters ``flat`` [D] in place of its own.

    Differentiable in both ``flat`` and ``images``, to any order; the network keeps its values.
    """
    logits: Tensor = functional_call(network, unflatten_parameters(flat, network), (images,))
    return logits
