"""Coresets: real images chosen instead of made; what every distilled set has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators
from study.methods.base import MethodConfig, Task, register
from study.methods.initialize import sample_real, synthetic_labels

__all__ = ["RandomCoreset", "RandomCoresetConfig"]


class RandomCoresetConfig(MethodConfig):
    """Settings of the random choice: there is nothing to set."""

    num_iterations: int = Field(0, ge=0, le=0)
    """A choice has no iterations."""
    init: Literal["real"] = "real"
    """A coreset consists of real images."""


@register
class RandomCoreset:
    """Real images drawn at random, the same number of every class, without replacement."""

    name: ClassVar[str] = "random"
    Config: ClassVar[type[MethodConfig]] = RandomCoresetConfig

    def __init__(self, config: RandomCoresetConfig) -> None:
        self.config = config

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the chosen images, as iteration 0 and without a loss."""
        train = task.train
        images = train.images[sample_real(train, task.ipc, generators["init"])]
        labels = synthetic_labels(train, task.ipc)
        yield Progress(0, {}, lambda: SyntheticSet(images.clone(), labels.clone(), train.class_names))
