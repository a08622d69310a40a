"""Selections by distances between features: herding, greedy k-center and k-means.

The rules are functions ``choose_by_*``: of features [n, d] of any float type they give ``count`` positions,
[count] int64 on the CPU and all different; a tie goes to the lower position. They raise ConfigError where
``count`` is below 1 or above n.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from study.core.seeding import Generators, derive_seed
from study.methods.base import MethodConfig, Task, register
from study.methods.coresets.base import Coreset, CoresetConfig, by_class, check_count
from study.methods.coresets.features import FeatureSource, extract_features

NUM_K_MEANS_STARTS = 3


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


@register
class Herding(FeatureCoreset):
    """Images whose mean feature stays closest to that of their class, chosen one by one."""

    name: ClassVar[str] = "herding"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_herding(features, count)


def choose_by_herding(features: Tensor, count: int) -> Tensor:
    """Positions [count] of rows of [n, d] whose running mean stays closest to the mean of all, as chosen.

    Choice k minimises ‖k·μ − Σ − z‖ in float64, with μ the mean of all rows and Σ the sum of those chosen.

    Source: Welling 2009, in the greedy form of Rebuffi et al. 2017 (iCaRL).
    """
    rows = _checked_rows(features, count)
    mean, total = rows.mean(0), torch.zeros_like(rows[0])
    chosen: list[int] = []
    for number in range(1, count + 1):
        distances = _squared_distances(rows, number * mean - total)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total += rows[chosen[-1]]
    return torch.tensor(chosen)


@register
class KCenter(FeatureCoreset):
    """Images that leave no image of their class far from a chosen one; the first is nearest to the mean."""

    name: ClassVar[str] = "k-center"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_k_center(features, count)


def choose_by_k_center(features: Tensor, count: int) -> Tensor:
    """Positions [count] of rows of [n, d]: the one nearest to the mean, then the farthest from those chosen.

    Distances are taken in float64. The covering radius is at most twice the smallest possible one.

    Source: Gonzalez 1985, as Sener and Savarese 2018 use it; papers do not state their start, this is ours.
    """
    rows = _checked_rows(features, count)
    chosen = [int(_squared_distances(rows, rows.mean(0)).argmin())]
    nearest = _squared_distances(rows, rows[chosen[0]])
    while len(chosen) < count:
        # Copies of a chosen row have distance 0 too, and only they may still be chosen.
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, _squared_distances(rows, rows[chosen[-1]]))
    return torch.tensor(chosen)


@register
class KMeansCoreset(FeatureCoreset):
    """The real image nearest to each of ``ipc`` cluster centres of its class."""

    name: ClassVar[str] = "k-means"

    def _rank(self, features: Tensor, count: int, label: int, generators: Generators) -> Tensor:
        return choose_by_k_means(features, count, derive_seed(generators.seed, "k-means", label))


def choose_by_k_means(features: Tensor, count: int, seed: int) -> Tensor:
    """Positions [count] of rows of [n, d]: for each cluster centre the nearest row that is not yet taken.

    Source: Cui et al. 2022 (DC-BENCH), which clusters each class. Of three starts the best is kept.
    """
    # Not at the top: every command imports every method, and this takes a second.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows = _checked_rows(features, count)
    kmeans = KMeans(n_clusters=count, n_init=NUM_K_MEANS_STARTS, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Fewer different rows than clusters: the copies that are left over are chosen by position.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(rows.numpy())
    chosen: list[int] = []
    for centre in torch.from_numpy(kmeans.cluster_centers_):
        distances = _squared_distances(rows, centre)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
    return torch.tensor(chosen)


def _checked_rows(features: Tensor, count: int) -> Tensor:
    """Features in float64 on the CPU, where that many of their rows can be chosen."""
    check_count(len(features), count)
    return features.detach().cpu().double()


def _squared_distances(rows: Tensor, point: Tensor) -> Tensor:
    """Squared distances [n]; differences are squared as they are, so that equal rows tie exactly."""
    return (rows - point).square_().sum(1)
