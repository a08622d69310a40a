"""The table of networks by name, and the one function that builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from pydantic import Field, ValidationInfo, field_validator

from study.core.config import Frozen
from study.core.errors import ConfigError, unknown_name
from study.models.alexnet import AlexNet
from study.models.convnet import ConvNet, default_depth
from study.models.layers import Activation, Norm, Pooling
from study.models.lenet import LeNet
from study.models.mlp import MLP
from study.models.network import Network
from study.models.resnet import ResNet18, ResNet18AP
from study.models.vgg import VGG11
from study.models.vit import VisionTransformer

PUBLISHED: Literal["published"] = "published"


@dataclass(frozen=True)
class Architecture:
    """A network of the pool, and which settings it takes.

    Attributes:
        network: the class; its own defaults are the published settings.
        choices: values that ``norm`` and ``pooling`` may have; a setting that is missing takes none.
        depth: blocks that suit an image shape, or None where the number of layers is fixed.
    """

    network: Callable[..., Network]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    depth: Callable[[tuple[int, int, int]], int] | None = None


_NORMS: dict[str, tuple[str, ...]] = {"norm": get_args(Norm)}
_POOLS: dict[str, tuple[str, ...]] = {"pooling": ("max", "avg")}

MODELS: dict[str, Architecture] = {
    "convnet": Architecture(ConvNet, {**_NORMS, "pooling": get_args(Pooling)}, default_depth),
    "mlp": Architecture(MLP, {"norm": ("none", "layer")}, lambda shape: 2),
    # Six channels do not divide into norm groups.
    "lenet": Architecture(LeNet, {"norm": ("none", "batch", "layer", "instance"), **_POOLS}),
    "alexnet": Architecture(AlexNet, {**_NORMS, **_POOLS}),
    "vgg11": Architecture(VGG11, {**_NORMS, **_POOLS}),
    "resnet18": Architecture(ResNet18, _NORMS),
    "resnet18-ap": Architecture(ResNet18AP, _NORMS),
    "vit": Architecture(VisionTransformer, {}, lambda shape: 4),
}
"""Every network by name."""


class ModelConfig(Frozen):
    """Which network is trained, matched or evaluated.

    ``published`` and None stand for what the architecture's source uses: instance norm in ConvNet, VGG11
    and the ResNets, no norm in AlexNet, LeNet and the MLP. ``name = "resnet18"`` with ``norm = "batch"``
    is the ResNet18BN of the literature. A setting that an architecture does not have is an error.
    """

    name: str = "convnet"
    """A key of :data:`MODELS`."""
    depth: int | None = Field(None, ge=1)
    """Blocks (D) of ConvNet, by default by resolution; hidden layers of an MLP (2); blocks of a ViT (4)."""
    width: int | None = Field(None, ge=1)
    """Channels or units of the first layer (W); further layers keep the published proportion to it."""
    norm: Norm | Literal["published"] = PUBLISHED
    """Normalisation between convolution and activation (N)."""
    activation: Activation | Literal["published"] = PUBLISHED
    """Nonlinearity (A)."""
    pooling: Pooling | Literal["published"] = PUBLISHED
    """How each block halves the image (P)."""

    @field_validator("norm", "pooling", mode="before")
    @classmethod
    def _none_is_a_choice(cls, value: Any) -> Any:
        # The command line reads the bare word none as "no value", which for these settings is one.
        return "none" if value is None else value

    @field_validator("depth", "norm", "pooling")
    @classmethod
    def _taken(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.data.get("name")
        if name in MODELS and value is not None and value != PUBLISHED:
            _check(name, str(info.field_name), value)
        return value


def _check(name: str, setting: str, value: Any) -> None:
    architecture = MODELS[name]
    if setting == "depth":
        if architecture.depth is None:
            raise ConfigError(f"the number of layers of model {name!r} is fixed")
    elif setting not in architecture.choices:
        raise ConfigError(f"model {name!r} has no choice of {setting}")
    elif value not in architecture.choices[setting]:
        raise ConfigError(f"model {name!r} takes {', '.join(architecture.choices[setting])}")


def _settings(config: ModelConfig, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """What the network's class is given; the rest it knows."""
    architecture = MODELS[config.name]
    settings = config.model_dump(exclude={"name"}, exclude_none=True)
    settings = {key: value for key, value in settings.items() if value != PUBLISHED}
    for key in ("depth", "norm", "pooling"):
        if key in settings:
            # Again, since a copied configuration with another name has not been validated.
            _check(config.name, key, settings[key])
    if architecture.depth is not None:
        settings.setdefault("depth", architecture.depth(image_shape))
    return settings


def build_model(
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Network:
    """Build a freshly initialised network, float32, in training mode, for images of shape [C, H, W].

    Parameters are drawn from ``generator``, by default a fresh one; the global generator is left alone.

    Raises:
        UnknownNameError: no network has that name.
        ConfigError: the architecture lacks a setting, or does not fit the image shape or the classes.
        ShapeError: the image is too small for the architecture.
    """
    if config.name not in MODELS:
        raise unknown_name("model", config.name, MODELS)
    if num_classes < 2:
        raise ConfigError(f"{num_classes} classes: a classifier needs at least 2")
    # On the meta device torch's own initialisation costs nothing and draws nothing.
    with torch.device("meta"):
        network = MODELS[config.name].network(image_shape, num_classes, **_settings(config, image_shape))
    network.to_empty(device=device)
    network.reset_parameters(generator or torch.Generator())
    return network
