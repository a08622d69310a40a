"""Several networks of one architecture that are trained as one program."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from study.core.errors import ConfigError
from study.models.network import Network, mixes_images


class NetworkStack:
    """Independent networks behind one forward pass, which pays the overhead of operations once.

    A stack of one is the network itself, so that batch norm, which cannot be stacked, trains likewise.

    Attributes:
        parameters: the trainable tensors, [networks, *shape] each, or the network's own for a stack of one.
    """

    def __init__(self, network: Network, num_networks: int) -> None:
        """Stack copies of a network, whose own parameters are where :meth:`member` puts one.

        Raises ConfigError for fewer than one network, or several of a kind that cannot be stacked.
        """
        if num_networks < 1 or (num_networks > 1 and mixes_images(network)):
            raise ConfigError(f"cannot stack {num_networks} networks of this architecture")
        self.num_networks = num_networks
        self._network = network
        self._names = [name for name, _ in network.named_parameters()]
        own = [parameter for _, parameter in network.named_parameters()]
        self.parameters: list[Tensor] = list(own)
        if num_networks > 1:
            self.parameters = [
                parameter.detach().expand(num_networks, *parameter.shape).clone().requires_grad_()
                for parameter in own
            ]

    @torch.no_grad()
    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw every network anew in place, network i from generator i."""
        for index, generator in enumerate(generators):
            self._network.reset_parameters(generator)
            if self.num_networks > 1:
                for stacked, fresh in zip(self.parameters, self._network.parameters(), strict=True):
                    stacked[index].copy_(fresh)
        for parameter in self.parameters:
            parameter.grad = None
        self._network.train()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [networks, n, classes] of images [networks, n, C, H, W], or [n, C, H, W] that all see."""
        if self.num_networks == 1:
            logits: Tensor = self._network(images if images.ndim == 4 else images.squeeze(0))
            return logits.unsqueeze(0)
        return self._network.forward_stacked(dict(zip(self._names, self.parameters, strict=True)), images)

    @torch.no_grad()
    def member(self, index: int) -> Network:
        """Network ``index`` in evaluation mode; valid until the next call of a method of this stack."""
        if self.num_networks > 1:
            for stacked, own in zip(self.parameters, self._network.parameters(), strict=True):
                own.copy_(stacked[index])
        return self._network.eval()
