"""DSA: gradient matching under one augmentation of real and synthetic images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress
from study.core.seeding import Generators
from study.methods.base import MethodConfig, Task, register
from study.methods.gradient_matching import GradientMatchingConfig, match_gradients

__all__ = ["DSA"]


@register
class DSA:
    """Dataset condensation with differentiable Siamese augmentation.

    DC, with the same random transform on the real and the synthetic images of a class whenever their
    gradients are compared, and ordinary augmentation where the network is trained. It starts from real
    images. With the augmentation ``none`` and DC's start it is DC. Memory and time: see
    :func:`~study.methods.gradient_matching.match_gradients`.

    Source: Zhao and Bilen 2021, "Dataset Condensation with Differentiable Siamese Augmentation".
    """

    name: ClassVar[str] = "dsa"
    Config: ClassVar[type[MethodConfig]] = GradientMatchingConfig

    def __init__(self, config: GradientMatchingConfig) -> None:
        self.config = config

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an update with its ``match/loss``."""
        yield from match_gradients(self.config, task, task.augmentation, generators)
