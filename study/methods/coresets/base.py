"""What every coreset shares: settings, the run that chooses once, and the walk over classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators
from study.methods.base import Method, MethodConfig, Task
from study.methods.coresets.features import FeatureSource, extract_features
from study.methods.initialize import synthetic_labels

__all__ = ["Coreset", "CoresetConfig", "FeatureCoreset", "FeatureCoresetConfig", "by_class"]


class CoresetConfig(MethodConfig):
    """What all choices share: there is nothing to iterate."""

    num_iterations: int = Field(0, ge=0, le=0)
    """A choice has no iterations."""
    init: Literal["real"] = "real"
    """A coreset consists of real images."""


class FeatureCoresetConfig(CoresetConfig):
    """Settings of a choice by distances."""

    source: FeatureSource = "trained"
    """Where distances are taken: features of a ``trained`` or ``random`` network, or ``pixels``."""
    num_epochs: int = Field(20, ge=1)
    """Passes over the training images in training the network; of source ``trained`` only."""
    batch_size: int = Field(64, ge=1)
    """Images a step of that training."""


ConfigT = TypeVar("ConfigT", bound=CoresetConfig)


class Coreset(Method[ConfigT]):
    """The run of every coreset: choose once, report, stop."""

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the chosen images, as iteration 0 and without a loss."""
        train = task.train
        labels = synthetic_labels(train, task.ipc)
        images = train.images[self._choose(task, generators).to(train.images.device)]
        yield Progress(0, {}, lambda: SyntheticSet(images.clone(), labels.clone(), train.class_names))

    @abstractmethod
    def _choose(self, task: Task, generators: Generators) -> Tensor:
        """Positions [classes · ipc] of training images, grouped by class."""


class FeatureCoreset(Coreset[FeatureCoresetConfig]):
    """A coreset that looks at the features of one class after the other."""

    Config: ClassVar[type[MethodConfig]] = FeatureCoresetConfig
    smoke: ClassVar[dict[str, int]] = {"num_epochs": 2}

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        config = self.config
        features = extract_features(
            task, config.source, generators, num_epochs=config.num_epochs, batch_size=config.batch_size
        )
        return by_class(
            task, lambda positions, label: self._rank(features[positions], task.ipc, label, generators)
        )

    @abstractmethod
    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        """Rows [count] that are taken of one class's features [n, d]."""


def by_class(task: Task, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Positions [classes · ipc] where ``choose`` picks among the positions of each class."""
    chosen = []
    for label, indices in enumerate(task.train.class_indices()):
        positions = indices.cpu()
        chosen.append(positions[choose(positions, label)])
    return torch.cat(chosen)
