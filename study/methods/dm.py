"""DM: make synthetic images look like real ones to random networks, class mean by class mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.matching.losses import distribution_matching_loss
from study.methods.matching.means import DrawnNetworks, MeanMatchingConfig, match_means
from study.methods.matching.random_features import RandomFeatures
from study.models.work import Loads


class DMConfig(MeanMatchingConfig):
    """Settings of DM as published; from 100 images a class on, the published ``image_lr`` is 10."""

    num_iterations: int = Field(20_000, ge=0)


@register
class DM(Method[DMConfig]):
    """Distribution matching.

    Each iteration draws a random network, embeds real and synthetic images of every class under the same
    augmentation, and moves the class means of the synthetic ones towards the real ones. Nothing is trained.

    Source: Zhao and Bilen 2023, "Dataset Condensation with Distribution Matching".
    """

    name: ClassVar[str] = "dm"
    Config: ClassVar[type[MethodConfig]] = DMConfig
    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=0.1, high=10.0, log=True),
        "distill.momentum": Range(low=0.0, high=0.9, step=0.1),
        "distill.init": Choice(choices=("real", "real+noise", "noise")),
    }
    smoke: ClassVar[dict[str, int]] = {"num_iterations": 8, "batch_real": 16}

    def iteration_loads(self, size: TaskSize) -> Loads:
        """A real batch and the set through one network."""
        return {"features": self.config.load(size)}

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration with its ``match/loss``."""
        networks = DrawnNetworks(RandomFeatures(task))
        yield from match_means(self.config, task, networks, _losses, generators)


def _losses(real: tuple[Tensor, ...], synthetic: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return {"match/loss": distribution_matching_loss(real[0], synthetic[0])}
