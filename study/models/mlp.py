"""The multilayer perceptron of the pool."""

from __future__ import annotations

from torch import Tensor, nn

from study.core.errors import ConfigError
from study.models.layers import Activation, Norm, build_activation, check_image_shape
from study.models.network import Network


class MLP(Network):
    """Hidden layers of equal width on the flattened pixels, then one linear layer; no feature maps.

    A layer norm spans the units of a hidden layer, before its activation.

    Source: Zhao et al. 2021 (DC): two hidden layers of 128 units with ReLU.
    """

    name = "mlp"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        depth: int = 2,
        width: int = 128,
        norm: Norm = "none",
        activation: Activation = "relu",
    ) -> None:
        super().__init__(image_shape, num_classes)
        check_image_shape(image_shape)
        if depth < 1:
            raise ConfigError(f"model.depth = {depth}: must be at least 1")
        if norm not in ("none", "layer"):
            raise ConfigError(f"model.norm = {norm!r}: an MLP takes none or layer")
        layers: list[nn.Module] = []
        size = image_shape[0] * image_shape[1] * image_shape[2]
        for _ in range(depth):
            layers.append(nn.Linear(size, width))
            if norm == "layer":
                layers.append(nn.LayerNorm(width))
            layers.append(build_activation(activation))
            size = width
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Activations [n, width] of the last hidden layer."""
        features: Tensor = self.hidden(images.flatten(1))
        return features
