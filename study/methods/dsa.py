"""DSA: gradient matching under one augmentation of real and synthetic images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.methods.base import Method, MethodConfig, Task, register
from study.methods.matching.gradients import GradientMatchingConfig, match_gradients


@register
class DSA(Method[GradientMatchingConfig]):
    """Dataset condensation with differentiable Siamese augmentation.

    DC, with the same random transform on the real and the synthetic images of a class whenever their
    gradients are compared, and ordinary augmentation where the network is trained. It starts from real
    images. With the augmentation ``none`` and DC's start it is DC. Memory and time: see
    :func:`~study.methods.matching.gradients.match_gradients`.

    Source: Zhao and Bilen 2021, "Dataset Condensation with Differentiable Siamese Augmentation".
    """

    name: ClassVar[str] = "dsa"
    Config: ClassVar[type[MethodConfig]] = GradientMatchingConfig
    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=0.01, high=1.0, log=True),
        "distill.model_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.init": Choice(choices=("real", "noise")),
    }
    smoke: ClassVar[dict[str, int]] = {"num_iterations": 6, "batch_real": 16}

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an update with its ``match/loss``."""
        yield from match_gradients(self.config, task, task.augmentation, generators)
