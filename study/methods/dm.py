"""DM: make synthetic images look like real ones to random networks, class mean by class mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.matching.losses import distribution_matching_loss
from study.methods.matching.random_features import RandomFeatures
from study.methods.matching.synthetic_images import (
    ClassBatches,
    MatchingConfig,
    SyntheticImages,
    paired_means,
)
from study.models.work import Loads


class DMConfig(MatchingConfig):
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
        return {"features": size.work.features(size.num_drawn(self.config.batch_real), size.num_synthetic)}

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration with its ``match/loss``."""
        config = self.config
        synthetic = SyntheticImages(task, config, generators["init"])
        yield synthetic.progress(0)
        real = ClassBatches(task.train, config.batch_real)
        features = RandomFeatures(task)
        features.compile_for(config.num_iterations, len(real.labels), len(synthetic.labels))
        for iteration in range(1, config.num_iterations + 1):
            features.redraw(generators["networks"])
            (real_means,), (made,) = paired_means(task, features, real, synthetic, generators)
            loss = distribution_matching_loss(real_means, made)
            yield synthetic.step({"match/loss": loss}, iteration)
