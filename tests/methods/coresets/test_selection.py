"""Which rows herding, k-center, k-means and forgetting take, against slow definitions and known cases."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from study.core.errors import ConfigError
from study.methods.coresets.distances import choose_by_herding, choose_by_k_center, choose_by_k_means
from study.methods.coresets.forgetting import choose_by_forgetting, count_forgetting


def covering_radius(features: Tensor, chosen: Tensor) -> float:
    """Largest distance of a row to its nearest chosen row."""
    return float(torch.cdist(features.double(), features[chosen].double()).amin(1).max())


Choose = Callable[[Tensor, int], Tensor]


def by_k_means(features: Tensor, count: int) -> Tensor:
    return choose_by_k_means(features, count, seed=3)


def by_forgetting(features: Tensor, count: int) -> Tensor:
    return choose_by_forgetting(features.T > 0, count)


ALL = [choose_by_herding, choose_by_k_center, by_k_means, by_forgetting]


def draw_rows(n: int = 30, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 2


@pytest.mark.parametrize("choose", ALL)
@pytest.mark.parametrize("count", [1, 7, 30])
def test_choices_are_that_many_different_rows_and_the_same_again(choose: Choose, count: int) -> None:
    rows = draw_rows()
    kept = rows.clone()
    chosen = choose(rows, count)
    assert chosen.dtype is torch.int64
    assert len(chosen) == len(chosen.unique()) == count
    assert torch.equal(chosen, choose(rows, count))
    assert torch.equal(rows, kept)


@pytest.mark.parametrize("choose", ALL)
def test_all_rows_are_a_permutation(choose: Choose) -> None:
    assert choose(draw_rows(), 30).sort().values.tolist() == list(range(30))


@pytest.mark.parametrize("choose", ALL)
def test_equal_rows_are_taken_in_order(choose: Choose) -> None:
    rows = torch.ones(6, 3)
    assert choose(rows, 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("choose", ALL)
@pytest.mark.parametrize("count", [0, 31])
def test_an_impossible_count_is_refused(choose: Choose, count: int) -> None:
    with pytest.raises(ConfigError, match=f"cannot choose {count} of 30"):
        choose(draw_rows(), count)


@pytest.mark.parametrize("choose", [choose_by_herding, choose_by_k_center])
def test_the_first_choice_is_nearest_to_the_mean(choose: Choose) -> None:
    rows = draw_rows().numpy().astype(np.float64)
    nearest = int(np.linalg.norm(rows - rows.mean(0), axis=1).argmin())
    assert choose(draw_rows(), 1).tolist() == [nearest]


def test_herding_is_its_definition() -> None:
    rows = draw_rows(40, 3).numpy().astype(np.float64)
    mean, chosen = rows.mean(0), []
    for k in range(1, 13):
        left = [i for i in range(40) if i not in chosen]
        chosen.append(min(left, key=lambda i: np.linalg.norm(k * mean - rows[chosen].sum(0) - rows[i])))
    assert choose_by_herding(draw_rows(40, 3), 12).tolist() == chosen


def test_the_mean_of_herded_rows_is_nearer_than_that_of_random_ones() -> None:
    rows = draw_rows(200, 8)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))[:10]
    herded, random = (
        float((rows[chosen].mean(0) - rows.mean(0)).norm()) for chosen in (choose_by_herding(rows, 10), order)
    )
    assert herded < 0.3 * random


def test_k_center_is_its_definition() -> None:
    rows = draw_rows(40, 3).numpy().astype(np.float64)
    chosen = [int(np.linalg.norm(rows - rows.mean(0), axis=1).argmin())]
    while len(chosen) < 12:
        nearest = [min(np.linalg.norm(row - rows[j]) for j in chosen) for row in rows]
        chosen.append(int(np.argmax(nearest)))
    assert choose_by_k_center(draw_rows(40, 3), 12).tolist() == chosen


def test_the_covering_radius_never_grows_and_is_at_most_twice_the_best() -> None:
    rows = draw_rows(14, 2)
    radii = [covering_radius(rows, choose_by_k_center(rows, count)) for count in range(1, 15)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(radii))
    assert radii[-1] == 0
    for count in (2, 3, 4):
        every = itertools.combinations(range(14), count)
        best = min(covering_radius(rows, torch.tensor(chosen)) for chosen in every)
        assert best <= radii[count - 1] <= 2 * best


@pytest.mark.parametrize("place", [0, 17, 29])
def test_a_far_outlier_is_the_second_center(place: int) -> None:
    rows = draw_rows()
    rows[place] = 100.0
    chosen = choose_by_k_center(rows, 2).tolist()
    assert chosen[0] != place
    assert chosen[1] == place


def test_k_means_takes_one_row_near_the_middle_of_each_cluster() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    noise = torch.randn(3, 9, 2, generator=torch.Generator().manual_seed(2))
    rows = (centres[:, None] + noise).flatten(0, 1)
    chosen = by_k_means(rows, 3)
    assert sorted((chosen // 9).tolist()) == [0, 1, 2]
    for position in chosen.tolist():
        cluster = rows[position // 9 * 9 :][:9]
        nearest = (cluster - cluster.mean(0)).norm(dim=1).argmin()
        assert position % 9 == int(nearest)


def test_k_means_gives_no_row_twice_where_copies_leave_centres_without_one() -> None:
    rows = torch.tensor([[0.0], [0.0], [0.0], [5.0], [5.0]])
    assert sorted(by_k_means(rows, 4).tolist()) != sorted(set(range(5)))
    assert len(set(by_k_means(rows, 4).tolist())) == 4


def test_forgetting_counts_steps_from_right_to_wrong() -> None:
    learnt = ["11111", "01111", "10101", "11010", "00000", "11110", "10000"]
    correct = torch.tensor([[letter == "1" for letter in image] for image in learnt]).T
    assert count_forgetting(correct).tolist() == [0, 0, 2, 2, 5, 1, 1]
    # Never right, then twice forgotten in order of position, then once (more epochs wrong first), then late.
    assert choose_by_forgetting(correct, 7).tolist() == [4, 2, 3, 6, 5, 1, 0]
