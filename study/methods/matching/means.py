"""The loop of DM and DataDAM: class means of features of synthetic images approach those of real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from pydantic import Field
from torch import Tensor

from study.core.records import Progress
from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import Task, TaskSize
from study.methods.matching.random_features import RandomFeatures
from study.methods.matching.real_batches import class_batches
from study.methods.matching.synthetic_images import MatchingConfig, SyntheticImages
from study.models.work import Load

MeanLosses = Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], Mapping[str, Tensor]]
"""Losses, ``match/loss`` the one to lower, of real and synthetic class means [classes, d] a layer."""


class MeanMatchingConfig(MatchingConfig):
    """Settings of methods that match class means under random networks; published is one update a network."""

    iterations_per_network: int = Field(1, ge=1)
    """T: how often a drawn network is used, each time for another target, before the next is drawn."""
    image_steps: int = Field(1, ge=1)
    """zeta_S: updates of the images towards one target, the means of one real batch under one augmentation."""

    def load(self, size: TaskSize) -> Load:
        """Counted work of an update, with its share of a real batch."""
        return size.work.features(size.num_drawn(self.batch_real) / self.image_steps, size.num_synthetic)


class DrawnNetworks:
    """Random networks that are used and never trained."""

    def __init__(self, features: RandomFeatures) -> None:
        """Hold what computes the features."""
        self.features = features

    def renew(self, generators: Generators) -> None:
        """Draw the next network."""
        self.features.redraw(generators["networks"])

    def reuse(self, synthetic: SyntheticImages, generators: Generators) -> None:
        """Get the same network ready for its next target."""


def match_means(
    config: MeanMatchingConfig,
    task: Task,
    networks: DrawnNetworks,
    losses: MeanLosses,
    generators: Generators,
) -> Iterator[Progress]:
    """Yield the starting point, then one progress an update, with its losses.

    Both kinds of images of a class are augmented by the same draw. Time: one forward pass of a real batch a
    target, three of all synthetic images an update; the real ones are most of it where each update has its own.
    """
    synthetic, train, features = (
        SyntheticImages(task, config, generators["init"]),
        task.train,
        networks.features,
    )
    yield synthetic.progress(0)
    real = class_batches(config.real_batches, train, config.batch_real, generators)
    features.compile_for(config.num_iterations, len(real.labels), len(synthetic.labels), config.image_steps)
    for iteration in range(1, config.num_iterations + 1):
        target, step = divmod(iteration - 1, config.image_steps)
        if step == 0:
            if target % config.iterations_per_network == 0:
                networks.renew(generators)
            else:
                networks.reuse(synthetic, generators)
            source = generators["augmentation"]
            siamese = draw(task.augmentation, train.num_classes, train.image_shape, source, shared_op=False)
            with torch.no_grad():
                batch = augment(real.draw(generators["batches"]), siamese, real.labels)
                wanted = features.class_means(batch, real.averaging)
        augmented = augment(synthetic.pixels, siamese, synthetic.labels)
        made = features.class_means(augmented, synthetic.averaging)
        yield synthetic.step(losses(wanted, made), iteration)
