"""Coresets: real images chosen instead of made; what every distilled set has to beat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators, derive_seed
from study.methods.base import MethodConfig, Task, register
from study.methods.coreset_features import FeatureSource, extract_features, record_learning
from study.methods.coreset_selection import (
    choose_by_forgetting,
    choose_by_herding,
    choose_by_k_center,
    choose_by_k_means,
)
from study.methods.initialize import sample_real, synthetic_labels

__all__ = [
    "CoresetConfig",
    "FeatureCoresetConfig",
    "Forgetting",
    "ForgettingConfig",
    "Herding",
    "KCenter",
    "KMeansCoreset",
    "RandomCoreset",
    "RandomCoresetConfig",
]


class CoresetConfig(MethodConfig):
    """What all choices share: there is nothing to iterate."""

    num_iterations: int = Field(0, ge=0, le=0)
    """A choice has no iterations."""
    init: Literal["real"] = "real"
    """A coreset consists of real images."""


class RandomCoresetConfig(CoresetConfig):
    """Settings of the random choice: there is nothing to set."""


class FeatureCoresetConfig(CoresetConfig):
    """Settings of a choice by distances."""

    source: FeatureSource = "trained"
    """Where distances are taken: features of a ``trained`` or ``random`` network, or ``pixels``."""
    num_epochs: int = Field(20, ge=1)
    """Passes over the training images in training the network; of source ``trained`` only."""
    batch_size: int = Field(64, ge=1)
    """Images a step of that training."""


class ForgettingConfig(CoresetConfig):
    """Settings of the choice by forgetting."""

    num_epochs: int = Field(20, ge=2)
    """Passes over the training images during which forgetting is counted."""
    batch_size: int = Field(64, ge=1)
    """Images a step of that training."""


ConfigT = TypeVar("ConfigT", bound=CoresetConfig)


class _Coreset(ABC, Generic[ConfigT]):
    """The run of every coreset: choose once, report, stop."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the chosen images, as iteration 0 and without a loss."""
        train = task.train
        labels = synthetic_labels(train, task.ipc)
        images = train.images[self._choose(task, generators).to(train.images.device)]
        yield Progress(0, {}, lambda: SyntheticSet(images.clone(), labels.clone(), train.class_names))

    @abstractmethod
    def _choose(self, task: Task, generators: Generators) -> Tensor:
        """Positions [classes · ipc] of training images, grouped by class."""


@register
class RandomCoreset(_Coreset[RandomCoresetConfig]):
    """Real images drawn at random, the same number of every class, without replacement."""

    name: ClassVar[str] = "random"
    Config: ClassVar[type[MethodConfig]] = RandomCoresetConfig

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        return sample_real(task.train, task.ipc, generators["init"])


class _FeatureCoreset(_Coreset[FeatureCoresetConfig]):
    """A coreset that looks at the features of one class after the other."""

    Config: ClassVar[type[MethodConfig]] = FeatureCoresetConfig

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        config = self.config
        features = extract_features(
            task, config.source, generators, num_epochs=config.num_epochs, batch_size=config.batch_size
        )
        return _by_class(
            task, lambda positions, label: self._rank(features[positions], task.ipc, label, generators)
        )

    @abstractmethod
    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        """Rows [count] that are taken of one class's features [n, d]."""


@register
class Herding(_FeatureCoreset):
    """Images whose mean feature stays closest to that of their class, chosen one by one.

    Source: Welling 2009; see :func:`~study.methods.coreset_selection.choose_by_herding`.
    """

    name: ClassVar[str] = "herding"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_herding(features, count)


@register
class KCenter(_FeatureCoreset):
    """Images that leave no image of their class far from a chosen one; the first is nearest to the mean.

    Source: Sener and Savarese 2018; see :func:`~study.methods.coreset_selection.choose_by_k_center`.
    """

    name: ClassVar[str] = "k-center"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_k_center(features, count)


@register
class KMeansCoreset(_FeatureCoreset):
    """The real image nearest to each of ``ipc`` cluster centres of its class.

    Source: Cui et al. 2022 (DC-BENCH); see :func:`~study.methods.coreset_selection.choose_by_k_means`.
    """

    name: ClassVar[str] = "k-means"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_k_means(features, count, derive_seed(generators.seed, "k-means", label))


@register
class Forgetting(_Coreset[ForgettingConfig]):
    """The images of each class that a network forgets most often while it is trained on all of them.

    Source: Toneva et al. 2019; see :func:`~study.methods.coreset_selection.choose_by_forgetting`.
    """

    name: ClassVar[str] = "forgetting"
    Config: ClassVar[type[MethodConfig]] = ForgettingConfig

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        config = self.config
        correct = record_learning(
            task, generators, num_epochs=config.num_epochs, batch_size=config.batch_size
        )
        return _by_class(task, lambda positions, label: choose_by_forgetting(correct[:, positions], task.ipc))


def _by_class(task: Task, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Positions [classes · ipc] where ``choose`` picks among the positions of each class."""
    chosen = []
    for label, indices in enumerate(task.train.class_indices()):
        positions = indices.cpu()
        chosen.append(positions[choose(positions, label)])
    return torch.cat(chosen)
