"""The table of networks by name, and the one function that builds them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field

from study.core.config import Frozen
from study.core.errors import ConfigError, unknown_name
from study.models.convnet import Activation, ConvNet, Norm, Pooling, default_depth
from study.models.network import Network

__all__ = ["MODELS", "ModelConfig", "Network", "build_model"]


class ModelConfig(Frozen):
    """Which network is trained, matched or evaluated."""

    name: str = "convnet"
    """A key of :data:`MODELS`."""
    depth: int | None = Field(None, ge=1)
    """Blocks (D); by default what the resolution asks for."""
    width: int = Field(128, ge=1)
    """Channels of every block (W)."""
    norm: Norm = "instance"
    """Normalisation between convolution and activation (N)."""
    activation: Activation = "relu"
    """Nonlinearity (A)."""
    pooling: Pooling = "avg"
    """How each block halves the image (P)."""


Builder = Callable[[ModelConfig, tuple[int, int, int], int], Network]


def _build_convnet(config: ModelConfig, image_shape: tuple[int, int, int], num_classes: int) -> Network:
    return ConvNet(
        image_shape,
        num_classes,
        depth=config.depth or default_depth(image_shape),
        width=config.width,
        norm=config.norm,
        activation=config.activation,
        pooling=config.pooling,
    )


MODELS: dict[str, Builder] = {"convnet": _build_convnet}
"""Every network by name."""


def build_model(
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Network:
    """Build a freshly initialised network, float32, in training mode.

    Args:
        config: architecture and variant.
        image_shape: channels, height, width.
        num_classes: length of one row of logits.
        generator: source of the initial parameters; the global generator is left alone.
        device: where the parameters live.

    Raises:
        UnknownNameError: no network has that name.
        ConfigError: the variant does not fit the image shape or the number of classes.
    """
    if config.name not in MODELS:
        raise unknown_name("model", config.name, MODELS)
    if num_classes < 2:
        raise ConfigError(f"{num_classes} classes: a classifier needs at least 2")
    # On the meta device torch's own initialisation costs nothing and draws nothing.
    with torch.device("meta"):
        network = MODELS[config.name](config, image_shape, num_classes)
    network.to_empty(device=device)
    network.reset_parameters(generator)
    return network
