"""A method of somebody else: synthetic images move towards the mean of their class."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field

from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators
from study.core.spaces import Range, Space
from study.methods.base import Method, MethodConfig, Task, register
from study.methods.initialize import initialize


class ToyConfig(MethodConfig):
    num_iterations: int = Field(20, ge=0)
    image_lr: float = Field(0.1, gt=0, le=1)


@register
class Toy(Method[ToyConfig]):
    """Images that move towards the mean of their class."""

    name: ClassVar[str] = "toy"
    Config: ClassVar[type[MethodConfig]] = ToyConfig
    space: ClassVar[Space] = {"distill.image_lr": Range(low=0.05, high=0.5)}
    smoke: ClassVar[dict[str, Any]] = {"num_iterations": 4}

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        train = task.train
        images, labels = initialize(self.config.init, train, task.ipc, generators["init"])
        means = torch.stack([train.images[positions].mean(0) for positions in train.class_indices()])

        def snapshot() -> SyntheticSet:
            return SyntheticSet(images.clone(), labels.clone(), train.class_names)

        yield Progress(0, {}, snapshot)
        for iteration in range(1, self.config.num_iterations + 1):
            way = means[labels] - images
            images = images + self.config.image_lr * way
            yield Progress(iteration, {"match/loss": way.square().mean()}, snapshot)
