"""Copies are found, noise is not, and the distances are those of a slow search."""

import pytest
import torch

from study.core.errors import ConfigError, ShapeError
from study.core.records import SyntheticSet
from study.core.seeding import Generators
from study.evaluation.baselines import random_real_sets
from study.protocols.leakage import check_leakage, nearest_real


@pytest.fixture(scope="module")
def real_set(digits):
    return random_real_sets(digits.train, 10, 1, Generators(3))[0]


def moved(real_set, size):
    noise = torch.randn(real_set.images.shape, generator=torch.Generator().manual_seed(0))
    return SyntheticSet(real_set.images + size * noise, real_set.labels, real_set.class_names)


def test_real_images_are_flagged_as_exact_copies(digits, real_set, compute):
    report = check_leakage(real_set, digits.train, compute, Generators(0))
    plain = report.plain()
    assert (plain["num_images"], plain["num_near_copies"], plain["num_exact_copies"]) == (100, 100, 100)
    assert plain["smallest_pixel_distance"] == 0
    assert torch.equal(digits.train.images[report.pixels.nearest], real_set.images)


def test_noise_is_not_flagged(digits, real_set, compute):
    noise = torch.randn(real_set.images.shape, generator=torch.Generator().manual_seed(0))
    report = check_leakage(
        SyntheticSet(noise, real_set.labels, real_set.class_names), digits.train, compute, Generators(0)
    )
    assert not report.near_copies.any()


def test_a_little_noise_does_not_hide_a_copy_and_much_of_it_does(digits, real_set, compute):
    counts = [
        check_leakage(moved(real_set, size), digits.train, compute, Generators(0)).plain()
        for size in (0.1, 0.5)
    ]
    assert [count["num_near_copies"] for count in counts] == [100, 0]
    assert counts[0]["num_exact_copies"] == 0


def test_features_see_through_a_change_of_contrast(digits, real_set, compute):
    stretched = SyntheticSet(1.8 * real_set.images + 0.3, real_set.labels, real_set.class_names)
    report = check_leakage(stretched, digits.train, compute, Generators(0))
    assert not report.pixels.near_copies.any()
    assert report.features.near_copies.all()


def test_held_out_real_images_are_flagged_as_rarely_as_the_rule_says(digits, compute):
    held = digits.validation
    report = check_leakage(
        SyntheticSet(held.images, held.labels, held.class_names), digits.train, compute, Generators(0)
    )
    assert float(report.near_copies.float().mean()) < 0.05


def test_a_wider_quantile_flags_more(digits, real_set, compute):
    near = moved(real_set, 0.25)
    strict, wide = (
        check_leakage(near, digits.train, compute, Generators(0), quantile=quantile)
        for quantile in (0.01, 0.3)
    )
    assert wide.pixels.threshold > strict.pixels.threshold
    assert int(wide.near_copies.sum()) > int(strict.near_copies.sum())


def test_the_same_set_gets_the_same_verdict(digits, real_set, compute):
    first, second = (
        check_leakage(moved(real_set, 0.2), digits.train, compute, Generators(0)).plain() for _ in range(2)
    )
    assert first == second
    assert 0 < first["num_near_copies"] < 100


@pytest.mark.parametrize("chunk", [4, 2**20])
def test_nearest_rows_are_those_of_a_slow_search(set_room, chunk):
    set_room("leakage pairs", chunk * 5)
    generator = torch.Generator().manual_seed(1)
    # Far from the origin, where inner products round away what differences keep.
    real = torch.randn(37, 6, generator=generator) + 100
    queries = torch.cat([real[[3, 36]], torch.randn(3, 6, generator=generator) + 100])
    distances, positions = nearest_real(queries, real)
    table = (queries[:, None].double() - real[None].double()).norm(dim=2)
    assert torch.equal(positions, table.argmin(1))
    assert torch.allclose(distances.double(), table.amin(1), atol=1e-4)
    assert distances[:2].tolist() == [0, 0]


def test_an_excluded_row_is_never_its_own_neighbour():
    real = torch.tensor([[0.0], [1.0], [1.0], [5.0]])
    distances, positions = nearest_real(real, real, exclude=torch.arange(4))
    assert distances.tolist() == [1, 0, 0, 4]
    assert positions[1:3].tolist() == [2, 1]
    with pytest.raises(ShapeError, match="leave none"):
        nearest_real(real[:1], real[:1], exclude=torch.zeros(1, dtype=torch.int64))


def test_wrong_settings_are_refused(digits, real_set, compute):
    with pytest.raises(ConfigError, match="quantile = 0"):
        check_leakage(real_set, digits.train, compute, Generators(0), quantile=0)
    with pytest.raises(ConfigError, match="num_reference = 0"):
        check_leakage(real_set, digits.train, compute, Generators(0), num_reference=0)
    small = SyntheticSet(torch.zeros(10, 1, 4, 4), torch.arange(10), real_set.class_names)
    with pytest.raises(ShapeError, match="cannot compare"):
        check_leakage(small, digits.train, compute, Generators(0))
