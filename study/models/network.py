"""What every network of the pool offers, and the fresh initialisation they share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from study.core.errors import ConfigError

TOKEN_STD = 0.02


class Network(nn.Module, ABC):
    """A classifier that can be drawn anew in place and shows its features.

    Attributes:
        image_shape: channels, height, width of the images it takes.
        num_classes: length of one row of logits.
        name: what errors call a network without convolutions.
        classifier: the last layer, from an embedding to logits.
    """

    name: ClassVar[str] = "network"
    classifier: nn.Linear

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, C, H, W]."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Flattened features [n, d] that the classifier sees."""

    def observe(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Feature maps [n, channels, h, w] of every block, first to last, before pooling; and the embedding.

        Raises ConfigError where the architecture has no such maps.
        """
        raise ConfigError(
            f"model {self.name!r} has no convolutional feature maps; choose a convolutional model"
        )

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The maps of :meth:`observe` alone."""
        return self.observe(images)[0]

    def forward_stacked(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Logits [networks, n, classes] of several networks of this shape; own parameters are not read.

        Parameters are [networks, *shape] by name, images [networks, n, C, H, W], or [n, C, H, W] for all.
        """
        logits: Tensor = vmap(
            lambda member, seen: functional_call(self, member, (seen,)),
            in_dims=(0, None if images.ndim == 4 else 0),
        )(dict(parameters), images)
        return logits

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh parameters in place, as torch would draw those of a new network.

        Convolutions and linear layers: weight and bias uniform in ±1/√fan_in (Kaiming-uniform with a = √5).
        Learned tokens: uniform with standard deviation 0.02. Norms: scale 1, shift 0, running statistics
        forgotten. The tensors stay the same objects; the numbers do not depend on the memory format.
        """
        drawn: list[tuple[Tensor, float]] = []
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = 1.0 / math.sqrt(module.weight[0].numel())
                drawn.append((module.weight, bound))
                if module.bias is not None:
                    drawn.append((module.bias, bound))
            elif isinstance(module, LearnedTokens):
                drawn.append((module.weight, TOKEN_STD * math.sqrt(3.0)))
            elif module is not self and callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        if not drawn:
            return
        total = sum(tensor.numel() for tensor, _ in drawn)
        numbers = torch.rand(total, generator=generator, device=generator.device).to(drawn[0][0].device)
        numbers.mul_(2.0).sub_(1.0)
        start = 0
        for tensor, bound in drawn:
            fresh = numbers[start : start + tensor.numel()].view(tensor.shape)
            tensor.copy_(fresh.mul_(bound))
            start += tensor.numel()


class LearnedTokens(nn.Module):
    """Vectors [num_tokens, width] that are parameters of their own: class tokens, positions."""

    def __init__(self, num_tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_tokens, width))


def mixes_images(network: Network) -> bool:
    """Whether one image's logits depend on the others of its batch (batch norm); such networks are not stacked."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
