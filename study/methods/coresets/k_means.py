"""K-means: the real image nearest to each cluster centre of its class."""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
from torch import Tensor

from study.core.seeding import Generators, derive_seed
from study.methods.base import register
from study.methods.coresets.distances import FeatureCoreset, checked_rows, squared_distances

NUM_K_MEANS_STARTS = 3


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

    rows = checked_rows(features, count)
    kmeans = KMeans(n_clusters=count, n_init=NUM_K_MEANS_STARTS, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Fewer different rows than clusters: the copies that are left over are chosen by position.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(rows.numpy())
    chosen: list[int] = []
    for centre in torch.from_numpy(kmeans.cluster_centers_):
        distances = squared_distances(rows, centre)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
    return torch.tensor(chosen)
