"""DM: make synthetic images look like real ones to random networks, class mean by class mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.data.augment import augment, draw
from study.methods.base import Method, MethodConfig, Task, register
from study.methods.matching.losses import distribution_matching_loss
from study.methods.matching.random_features import RandomFeatures
from study.methods.matching.synthetic_images import ClassBatches, SyntheticImages


class DMConfig(MethodConfig):
    """Settings of DM; the published values are the defaults."""

    num_iterations: int = Field(20_000, ge=0)
    """Updates of the synthetic images."""
    image_lr: float = Field(1.0, gt=0)
    """Learning rate of the pixels; 10 is published for 100 and more images a class."""
    momentum: float = Field(0.5, ge=0, lt=1)
    """Of the pixels' SGD."""
    batch_real: int = Field(256, ge=1)
    """Real images a class in each iteration; a smaller class gives all it has."""


@register
class DM(Method[DMConfig]):
    """Distribution matching.

    Each iteration draws a fresh random network, embeds a batch of real images and all synthetic ones of
    every class under the same augmentation, and moves the synthetic images so that the class means of
    their embeddings approach those of the real images. No network is trained.

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

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration with its ``match/loss``."""
        config = self.config
        synthetic = SyntheticImages(
            task, config.init, generators["init"], lr=config.image_lr, momentum=config.momentum
        )
        yield synthetic.progress(0)
        real = ClassBatches(task.train, config.batch_real)
        features = RandomFeatures(task)
        features.compile_for(config.num_iterations, len(real.labels), len(synthetic.labels))
        num_classes, image_shape = task.train.num_classes, task.train.image_shape
        for iteration in range(1, config.num_iterations + 1):
            features.redraw(generators["networks"])
            # One draw a class, used by its real and its synthetic images alike.
            siamese = draw(
                task.augmentation, num_classes, image_shape, generators["augmentation"], shared_op=False
            )
            with torch.no_grad():
                batch = augment(real.draw(generators["batches"]), siamese, real.labels)
                (real_means,) = features.class_means(batch, real.averaging)
            augmented = augment(synthetic.pixels, siamese, synthetic.labels)
            (synthetic_means,) = features.class_means(augmented, synthetic.averaging)
            loss = distribution_matching_loss(real_means, synthetic_means)
            yield synthetic.step({"match/loss": loss}, iteration)
