"""What selections by distances between features share.

The rules are functions ``choose_by_*``: of features [n, d] of any float type they give ``count`` positions,
[count] int64 on the CPU and all different; a tie goes to the lower position. They raise ConfigError where
``count`` is below 1 or above n.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from study.core.seeding import Generators
from study.methods.base import MethodConfig, Task
from study.methods.coresets.base import Coreset, CoresetConfig, by_class, check_count
from study.methods.coresets.features import FeatureSource, extract_features


class FeatureCoresetConfig(CoresetConfig):
    """Settings of a selection by distances."""

    source: FeatureSource = "trained"
    """Where distances are taken: features of a ``trained`` or ``random`` network, or ``pixels``."""
    num_epochs: int = Field(20, ge=1)
    """Passes over the training images in training the network; of source ``trained`` only."""
    batch_size: int = Field(64, ge=1)
    """Images a step of that training."""


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


def checked_rows(features: Tensor, count: int) -> Tensor:
    """Features in float64 on the CPU, where that many of their rows can be chosen."""
    check_count(len(features), count)
    return features.detach().cpu().double()


def squared_distances(rows: Tensor, point: Tensor) -> Tensor:
    """Squared distances [n]; differences are squared as they are, so that equal rows tie exactly."""
    return (rows - point).square_().sum(1)
