"""DSA: gradient matching under one augmentation of real and synthetic images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Space
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.dc import DC
from study.methods.matching.gradients import GradientMatchingConfig, gradient_loads, match_gradients
from study.models.work import Loads


@register
class DSA(Method[GradientMatchingConfig]):
    """Dataset condensation with differentiable Siamese augmentation.

    DC from real images, with the same random transform on the real and the synthetic images of a class, and
    ordinary augmentation where the network is trained.

    Source: Zhao and Bilen 2021, "Dataset Condensation with Differentiable Siamese Augmentation".
    """

    name: ClassVar[str] = "dsa"
    Config: ClassVar[type[MethodConfig]] = GradientMatchingConfig
    space: ClassVar[Space] = {**DC.space, "distill.init": Choice(choices=("real", "noise"))}
    smoke: ClassVar[dict[str, int]] = DC.smoke

    def iteration_loads(self, size: TaskSize) -> Loads:
        """Both gradients, and a share of the network's training."""
        return gradient_loads(self.config, size)

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an update with its ``match/loss``."""
        yield from match_gradients(self.config, task, task.augmentation, generators)
