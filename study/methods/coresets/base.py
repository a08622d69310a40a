"""What every coreset shares: settings, the run that selects once, the walk over classes, and distances.

The rules themselves are functions ``choose_by_*``: of features [n, d] of any float type they give ``count``
positions, [count] int64 on the CPU and all different; a tie goes to the lower position. They raise ConfigError
where ``count`` is below 1 or above n.
"""

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
from study.methods.base import Method, MethodConfig, Task
from study.methods.coresets.features import FeatureSource, extract_features
from study.methods.initialize import synthetic_labels


class CoresetConfig(MethodConfig):
    """What all selections share: there is nothing to iterate."""

    num_iterations: int = Field(0, ge=0, le=0)
    """A selection has no iterations."""
    init: Literal["real"] = "real"
    """A coreset consists of real images."""


class FeatureCoresetConfig(CoresetConfig):
    """Settings of a selection by distances."""

    source: FeatureSource = "trained"
    """Where distances are taken: features of a ``trained`` or ``random`` network, or ``pixels``."""
    num_epochs: int = Field(20, ge=1)
    """Passes over the training images in training the network; of source ``trained`` only."""
    batch_size: int = Field(64, ge=1)
    """Images a step of that training."""


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


def check_count(num_images: int, count: int) -> None:
    """Refuse to choose none, or more than there are."""
    if not 1 <= count <= num_images:
        raise ConfigError(f"cannot choose {count} of {num_images} images")


def checked_rows(features: Tensor, count: int) -> Tensor:
    """Features in float64 on the CPU, where that many of their rows can be chosen."""
    check_count(len(features), count)
    return features.detach().cpu().double()


def squared_distances(rows: Tensor, point: Tensor) -> Tensor:
    """Squared distances [n]; differences are squared as they are, so that equal rows tie exactly."""
    return (rows - point).square_().sum(1)
