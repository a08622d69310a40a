"""What every coreset shares: settings, one selection, the walk over classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from study.core.errors import ConfigError
from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators
from study.methods.base import Method, MethodConfig, Task, TaskSize
from study.methods.initialize import synthetic_labels
from study.models.work import Loads


class CoresetConfig(MethodConfig):
    """What all selections share: there is nothing to iterate."""

    num_iterations: int = Field(0, ge=0, le=0)
    """A selection has no iterations."""
    init: Literal["real"] = "real"
    """A coreset consists of real images."""


ConfigT = TypeVar("ConfigT", bound=CoresetConfig)


class Coreset(Method[ConfigT]):
    """The run of every coreset: select once, report, stop."""

    Config: ClassVar[type[MethodConfig]] = CoresetConfig

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the selected images, as iteration 0 and without a loss."""
        train = task.train
        labels = synthetic_labels(train, task.ipc)
        images = train.images[self._choose(task, generators).to(train.images.device)]
        yield Progress(0, {}, lambda: SyntheticSet(images.clone(), labels.clone(), train.class_names))

    def iteration_loads(self, size: TaskSize) -> Loads:
        """None: there is nothing to iterate."""
        return {}

    @abstractmethod
    def _choose(self, task: Task, generators: Generators) -> Tensor:
        """Positions [classes · ipc] of training images, grouped by class."""


def by_class(task: Task, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Positions [classes · ipc] where ``choose`` picks among the positions of each class."""
    chosen = []
    for label, indices in enumerate(task.train.class_indices()):
        positions = indices.cpu()
        chosen.append(positions[choose(positions, label)])
    return torch.cat(chosen)


def check_count(num_images: int, count: int) -> None:
    """Refuse to choose none, or more than there are."""
    if not 1 <= count <= num_images:
        raise ConfigError(f"cannot choose {count} of {num_images} images")
