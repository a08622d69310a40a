"""Real batches by class: random images, or one of each cluster."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from study.core.records import ImageDataset
from study.core.seeding import Generators, derive_seed
from study.methods.matching.random_features import averaging_matrix

BatchRule = Literal["random", "k-means"]

CLUSTER_SIDE = 16
"""Pixels a side to which images are pooled for clustering: enough to tell them apart, and bounded in time."""

NUM_PASSES = 10
"""Over a class's images in clustering them."""


class ClassBatches:
    """Real batches with the same number of images of every class, without replacement within a batch.

    Attributes:
        labels: [n] int64 on the CPU, the class of each image of a batch, ascending.
        averaging: [classes, n] float32, see :func:`averaging_matrix`.
        weights: [n] float32 on the device, what each image counts in its class, or None where all count the same.
    """

    weights: Tensor | None = None

    def __init__(self, dataset: ImageDataset, batch_size: int) -> None:
        """Index the dataset; a class of fewer than ``batch_size`` images, but at least one, gives all it has."""
        counts = torch.tensor(dataset.class_counts())
        taken = counts.clamp(max=batch_size)
        device = dataset.images.device
        self._images = dataset.images
        self._num_columns = int(taken.max())
        self._indices = torch.nn.utils.rnn.pad_sequence(dataset.class_indices(), batch_first=True)
        self._absent = (torch.arange(self._indices.shape[1]) >= counts[:, None]).to(device)
        kept = torch.arange(self._num_columns) < taken[:, None]
        self._kept = kept.flatten().nonzero().flatten().to(device)
        self.labels = torch.arange(len(counts)).repeat_interleave(taken)
        self.averaging = averaging_matrix(self.labels, len(counts)).to(device)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Images [n, C, H, W] of the next batch, grouped by class, on the device of the dataset."""
        # The largest of uniform keys are a uniform choice without replacement, for all classes at once.
        keys = torch.rand(self._indices.shape, generator=generator, device=generator.device)
        keys = keys.to(self._images.device).masked_fill_(self._absent, -1.0)
        order = keys.topk(self._num_columns, dim=1).indices
        return self._images[self._indices.gather(1, order).flatten()[self._kept]]


class ClusterBatches(ClassBatches):
    """One random image of each of ``batch_size`` clusters of every class, which weighs as its cluster has images.

    The weighted mean of a batch is right on average, as that of a random batch is, without the variance between
    clusters. Clusters are those of k-means on pixels, pooled to at most 16 a side, and are found once.

    Departs from Liu et al. 2023 (DREAM), whose batches are the images nearest to the centres in features of the
    current network, all of one weight, found anew every ten updates from all images of a class.
    """

    def __init__(self, dataset: ImageDataset, batch_size: int, seed: int) -> None:
        """Cluster every class, of which each has at least one image; there are at most as many clusters as images."""
        by_class = dataset.class_indices()
        found = [
            _clusters(dataset.images[positions], batch_size, derive_seed(seed, "k-means", label))
            for label, positions in enumerate(by_class)
        ]
        device, sizes = dataset.images.device, torch.cat([clusters.bincount() for clusters in found])
        self._images, self._sizes = dataset.images, sizes.to(device)
        self._starts = self._sizes.cumsum(0) - self._sizes
        order = [clusters.argsort(stable=True).to(device) for clusters in found]
        self._members = torch.cat([one[into] for one, into in zip(by_class, order, strict=True)])
        numbers = torch.tensor([int(clusters.max()) + 1 for clusters in found])
        self.labels = torch.arange(len(numbers)).repeat_interleave(numbers)
        self.weights = self._sizes / torch.tensor(dataset.class_counts())[self.labels].to(device)
        self.averaging = one_hot(self.labels, len(numbers)).T.to(device) * self.weights

    def draw(self, generator: torch.Generator) -> Tensor:
        """Images [n, C, H, W] of the next batch, grouped by class, on the device of the dataset."""
        keys = torch.rand(len(self._sizes), generator=generator, device=generator.device).to(
            self._sizes.device
        )
        # A key just below 1 may round up to the size.
        offsets = (keys * self._sizes).long().minimum(self._sizes - 1)
        return self._images[self._members[self._starts + offsets]]


def class_batches(
    rule: BatchRule, dataset: ImageDataset, batch_size: int, generators: Generators
) -> ClassBatches:
    """Batches by a rule; clusters depend on the seed of ``generators``, from which nothing is drawn."""
    if rule == "k-means":
        return ClusterBatches(dataset, batch_size, generators.seed)
    return ClassBatches(dataset, batch_size)


def _clusters(images: Tensor, count: int, seed: int) -> Tensor:
    """The cluster [n] of each image [n, C, H, W], numbered without gaps, on the CPU."""
    if len(images) <= count:
        return torch.arange(len(images))
    # Not at the top: every command imports every method, and this takes a second.
    from sklearn.cluster import MiniBatchKMeans

    height, width = images.shape[2:]
    pooled = adaptive_avg_pool2d(images, (min(height, CLUSTER_SIDE), min(width, CLUSTER_SIDE)))
    kmeans = MiniBatchKMeans(count, n_init=1, max_iter=NUM_PASSES, random_state=seed % 2**32)
    labels = kmeans.fit_predict(pooled.flatten(1).cpu().numpy())
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1])
