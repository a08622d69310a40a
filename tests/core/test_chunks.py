from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from study.core.chunks import ROOMS, Room, equal_pieces, even_sizes, fitting

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
COUNTS = st.integers(1, 500)


@pytest.mark.parametrize(
    ("num_items", "target", "sizes"),
    [
        (64, 16, [16] * 4),
        (60, 16, [15] * 4),
        (67, 16, [16, 16, 16, 16, 3]),
        (10, 400, [10]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_sizes_are_even_where_they_can_be(num_items: int, target: int, sizes: list[int]) -> None:
    assert even_sizes(num_items, target) == sizes


@given(COUNTS, COUNTS)
def test_sizes_sum_to_the_whole_near_the_target(num_items: int, target: int) -> None:
    sizes = even_sizes(num_items, target)
    assert sum(sizes) == num_items
    assert max(sizes) <= max(target * 3 // 2, 1)
    assert len(set(sizes[:-1])) <= 1


@given(COUNTS, COUNTS)
def test_pieces_are_as_few_as_hold_that_many(num_items: int, most: int) -> None:
    size = equal_pieces(num_items, most)
    if size is None:
        assert num_items <= most
    else:
        assert size <= most < num_items
        assert -(-num_items // size) <= -(-num_items // most)


def test_room_has_bounds_and_may_count_by_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert Room(100).fitting(30) == 3
    assert Room(100, per_thread=True).fitting(30) == 10
    assert [Room(100, least=2, most=5).fitting(item) for item in (1, 30, 99)] == [5, 3, 2]
    assert Room(100).fitting(1000) == 1


def test_accelerators_have_rules_of_their_own() -> None:
    assert (fitting("prediction", 28 * 28, CPU), fitting("prediction", 28 * 28, CUDA)) == (83, 5349)
    assert (fitting("gradient groups", 10, CPU), fitting("gradient groups", 10, CUDA)) == (1, 51)
    assert fitting("experts", 1 << 20, CUDA) == 256 * fitting("experts", 1 << 20, CPU)
    assert equal_pieces(10_000, fitting("student", 1 << 40, CUDA)) is None


def test_no_room_is_smaller_on_an_accelerator() -> None:
    assert all(there.amount >= here.amount for here, there in ROOMS.values())
