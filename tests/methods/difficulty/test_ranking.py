from __future__ import annotations

import numpy as np
import pytest
import torch

from study.core.errors import ShapeError
from study.methods.difficulty.ranking import difficulty_histogram, easiest_and_hardest, rank_by_class


def test_ranking_is_by_class_with_ties_in_order() -> None:
    scores = torch.tensor([0.5, 0.1, 0.5, 0.9, 0.1, 0.5])
    labels = torch.tensor([0, 1, 0, 0, 1, 0])
    ranking = rank_by_class(scores, labels, 3)
    assert [positions.tolist() for positions in ranking] == [[0, 2, 5, 3], [1, 4], []]


def test_ranking_refuses_other_shapes_and_nan() -> None:
    with pytest.raises(ShapeError, match="expected"):
        rank_by_class(torch.zeros(3), torch.zeros(4, dtype=torch.int64), 2)
    with pytest.raises(ShapeError, match="not a number"):
        rank_by_class(torch.tensor([0.0, float("nan")]), torch.zeros(2, dtype=torch.int64), 2)


def test_histogram_counts_every_image_once() -> None:
    scores = torch.rand(200, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 3
    edges, counts = difficulty_histogram(scores, labels, 4, num_bins=7)
    assert counts.shape == (4, 7)
    assert counts.sum(dim=1).tolist() == [67, 67, 66, 0]
    for label in range(3):
        of_class = scores[labels == label].numpy()
        expected, _ = np.histogram(of_class, bins=edges.numpy())
        assert counts[label].tolist() == expected.tolist()
    assert (float(edges[0]), float(edges[-1])) == pytest.approx((float(scores.min()), float(scores.max())))


def test_histogram_gives_an_edge_to_the_bin_on_its_right() -> None:
    scores = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    _, counts = difficulty_histogram(scores, torch.zeros(5, dtype=torch.int64), 1, num_bins=4)
    assert counts.tolist() == [[1, 1, 1, 2]]


def test_histogram_of_equal_scores_is_one_bin() -> None:
    _, counts = difficulty_histogram(torch.full((5,), 0.3), torch.zeros(5, dtype=torch.int64), 1, num_bins=4)
    assert counts.tolist() == [[5, 0, 0, 0]]


def test_strip_shows_both_ends_of_every_class() -> None:
    ranking = [torch.tensor([4, 1, 3, 0]), torch.tensor([2])]
    easiest, hardest = easiest_and_hardest(ranking, 2)
    assert [positions.tolist() for positions in easiest] == [[4, 1], [2]]
    assert [positions.tolist() for positions in hardest] == [[0, 3], [2]]
