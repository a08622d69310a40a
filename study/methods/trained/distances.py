"""Features whose class means say how two classes of images differ, and distances between these means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from study.core.errors import ShapeError
from study.models.network import Network

Distance = Literal["mean", "characteristic"]

LEAST_SQUARE = 1e-12
"""Added below roots, whose gradient at 0 is infinite."""


@dataclass(frozen=True, eq=False)
class Waves:
    """Cosines and sines of unit embeddings along frequencies: their class means are a characteristic function.

    Attributes:
        frequencies: [J, d] float32, written anew in place by whoever draws them.
    """

    frequencies: Tensor

    def __call__(self, network: Network, images: Tensor) -> tuple[Tensor, ...]:
        """[n, J] of cosines, then [n, J] of sines."""
        return waves(network.embed(images), self.frequencies)


@dataclass(frozen=True)
class WithVotes:
    """Other features and, of images without a gradient, which class the network names: its class means are accuracy."""

    features: Waves | None = None
    """By default the embedding."""

    def __call__(self, network: Network, images: Tensor) -> tuple[Tensor, ...]:
        """The features, then perhaps [n, classes], one-hot."""
        embedding = network.embed(images)
        features = (embedding,) if self.features is None else waves(embedding, self.features.frequencies)
        if images.requires_grad and torch.is_grad_enabled():
            return features
        named = network.classifier(embedding).argmax(1)
        return (*features, functional.one_hot(named, network.num_classes).float())


def waves(embedding: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [n, J] of the products of embeddings [n, d], scaled to unit length, with [J, d]."""
    with torch.autocast(embedding.device.type, enabled=False):
        wide = embedding if embedding.dtype is torch.float64 else embedding.float()
        angles = functional.normalize(wide, dim=1) @ frequencies.T
    return angles.cos(), angles.sin()


def surprise(network: Network, images: Tensor) -> tuple[Tensor, ...]:
    """Minus the log-probability [n, classes] of every class, as the only layer.

    The diagonal of its class means is the cross-entropy of each class.
    """
    return (-functional.log_softmax(network(images).float(), dim=1),)


def characteristic_distance(
    real: tuple[Tensor, Tensor], synthetic: tuple[Tensor, Tensor], amplitude_weight: float = 0.5
) -> Tensor:
    """Distance between characteristic functions, mean over frequencies, summed over classes.

    Args:
        real: real and imaginary part, [classes, J] each, detached.
        synthetic: likewise; gradient flows.
        amplitude_weight: alpha, of the difference of amplitudes; what is left is the phases'.

    Returns:
        Scalar >= 0, the mean over frequencies of √(α (|Φ| - |Ψ|)² + (1 - α) 2 |Φ| |Ψ| (1 - cos of the phases)), which
        at α = 0.5 is |Φ - Ψ| / √2. Equal functions give 1e-6 a class, and no gradient.

    Raises:
        ShapeError: shapes differ.

    Source: Wang et al. 2025 (NCFM), equation 5 and its released code, but for 1e-12 below the roots of amplitudes.
    """
    parts = (*real, *synthetic)
    if parts[0].ndim != 2 or len({tuple(part.shape) for part in parts}) > 1:
        raise ShapeError(
            f"parts have shapes {[tuple(part.shape) for part in parts]}; expected [classes, J] each"
        )
    (real_re, real_im), (made_re, made_im) = real, synthetic
    real_size, made_size = ((re.square() + im.square() + LEAST_SQUARE).sqrt() for re, im in (real, synthetic))
    amplitude = (real_size - made_size).square()
    phase = 2 * (real_size * made_size - real_re * made_re - real_im * made_im)
    both = amplitude_weight * amplitude + (1 - amplitude_weight) * phase.clamp(min=LEAST_SQUARE)
    return both.clamp(min=LEAST_SQUARE / 2).sqrt().mean(1).sum()
