"""Which rows of a feature matrix a coreset takes: herding, greedy k-center, k-means, forgetting."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from study.core.errors import ConfigError

__all__ = [
    "choose_by_forgetting",
    "choose_by_herding",
    "choose_by_k_center",
    "choose_by_k_means",
    "count_forgetting",
    "covering_radius",
]

NUM_K_MEANS_STARTS = 3


def choose_by_herding(features: Tensor, count: int) -> Tensor:
    """Rows whose running mean stays closest to the mean of all rows.

    The k-th choice minimises ‖k·μ − Σ − z‖, where μ is the mean of all rows and Σ the sum of the rows
    chosen so far; a tie goes to the lower position.

    Args:
        features: [n, d], any float type; sums are taken in float64.
        count: rows to choose, at most n.

    Returns:
        Positions [count] int64 in the order of choice, all different.

    Raises:
        ConfigError: ``count`` is below 1 or above n.

    Source: Welling 2009, in the greedy form of Rebuffi et al. 2017 (iCaRL).
    """
    rows = _checked(features, count)
    mean, total = rows.mean(0), torch.zeros_like(rows[0])
    chosen: list[int] = []
    for number in range(1, count + 1):
        distances = _distances(rows, number * mean - total)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total += rows[chosen[-1]]
    return torch.tensor(chosen)


def choose_by_k_center(features: Tensor, count: int) -> Tensor:
    """The row nearest to the mean, then again and again the one farthest from all chosen ones.

    Ties go to the lower position. The covering radius is at most twice the smallest possible one.

    Args:
        features: [n, d], any float type; distances are taken in float64.
        count: rows to choose, at most n.

    Returns:
        Positions [count] int64 in the order of choice, all different.

    Raises:
        ConfigError: ``count`` is below 1 or above n.

    Source: Gonzalez 1985, as Sener and Savarese 2018 use it; the start is ours, since the comparisons of
        distillation papers do not state theirs.
    """
    rows = _checked(features, count)
    chosen = [int(_distances(rows, rows.mean(0)).argmin())]
    nearest = _distances(rows, rows[chosen[0]])
    while len(chosen) < count:
        # Copies of a chosen row have distance 0 too, and only they may still be chosen.
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, _distances(rows, rows[chosen[-1]]))
    return torch.tensor(chosen)


def choose_by_k_means(features: Tensor, count: int, seed: int) -> Tensor:
    """For each of ``count`` cluster centres the nearest row that no earlier centre has taken.

    Args:
        features: [n, d], any float type.
        count: clusters, at most n.
        seed: of the starts of k-means; the best of three is kept.

    Returns:
        Positions [count] int64 in the order of the centres, all different; a tie goes to the lower one.

    Raises:
        ConfigError: ``count`` is below 1 or above n.

    Source: Cui et al. 2022 (DC-BENCH), which clusters each class and takes real images by the centres.
    """
    # Not at the top: every command imports every method, and this takes a second.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows = _checked(features, count)
    kmeans = KMeans(n_clusters=count, n_init=NUM_K_MEANS_STARTS, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Fewer different rows than clusters: the copies that are left over are chosen by position.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(rows.numpy())
    chosen: list[int] = []
    for centre in torch.from_numpy(kmeans.cluster_centers_):
        distances = _distances(rows, centre)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
    return torch.tensor(chosen)


def count_forgetting(correct: Tensor) -> Tensor:
    """How often each image went from right to wrong between two epochs of training.

    Args:
        correct: [epochs, n] bool, whether an image was classified correctly when the epoch showed it.

    Returns:
        [n] int64. An image that was never right counts as forgotten ``epochs`` times, more often than any
        other can be.

    Source: Toneva et al. 2019.
    """
    events = (correct[:-1] & ~correct[1:]).sum(0)
    return events.masked_fill(~correct.any(0), len(correct))


def choose_by_forgetting(correct: Tensor, count: int) -> Tensor:
    """The images that were forgotten most often.

    Easy data is hardly ever forgotten, so a tie goes to the image that was wrong in more epochs, and only
    then to the lower position.

    Args:
        correct: [epochs, n] bool, as :func:`count_forgetting` takes it.
        count: images to choose, at most n.

    Returns:
        Positions [count] int64, most forgotten first, all different.

    Raises:
        ConfigError: ``count`` is below 1 or above n.
    """
    _check_count(correct.shape[1], count)
    rank = count_forgetting(correct) * (len(correct) + 1) + (~correct).sum(0)
    return rank.argsort(descending=True, stable=True)[:count]


def covering_radius(features: Tensor, chosen: Tensor) -> float:
    """Largest distance of a row to its nearest chosen row, in units of the features."""
    rows = _checked(features, len(chosen))
    nearest = torch.stack([_distances(rows, rows[position]) for position in chosen]).amin(0)
    return float(nearest.max().sqrt())


def _checked(features: Tensor, count: int) -> Tensor:
    _check_count(len(features), count)
    return features.detach().cpu().double()


def _check_count(num_images: int, count: int) -> None:
    if not 1 <= count <= num_images:
        raise ConfigError(f"cannot choose {count} of {num_images} images")


def _distances(rows: Tensor, point: Tensor) -> Tensor:
    """Squared distances [n]; differences are squared as they are, so that equal rows tie exactly."""
    return (rows - point).square_().sum(1)
