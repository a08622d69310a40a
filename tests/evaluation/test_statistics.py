from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy import stats

from study.core.errors import ConfigError
from study.core.records import Score
from study.evaluation import statistics as evaluation_statistics
from study.evaluation.statistics import compare_paired, compare_scores, summarize

VALUES = [0.91, 0.93, 0.90, 0.95, 0.92, 0.94]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_p_value(differences: list[float]) -> float:
    """By a loop over all sign patterns, in exact multiples of one image."""
    whole = [round(difference * 143) for difference in differences]
    patterns = list(itertools.product((-1, 1), repeat=len(whole)))
    totals = [abs(sum(s * d for s, d in zip(signs, whole, strict=True))) for signs in patterns]
    return sum(total >= abs(sum(whole)) for total in totals) / len(patterns)


def test_mean_and_deviation_equal_those_of_the_standard_library() -> None:
    summary = summarize(VALUES, generator())
    assert summary.mean == pytest.approx(statistics.mean(VALUES))
    assert summary.std == pytest.approx(statistics.stdev(VALUES))
    assert (summary.n, summary.confidence) == (6, 0.95)


def test_interval_equals_the_bootstrap_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_statistics, "NUM_RESAMPLES", 40_000)
    summary = summarize(VALUES, generator())
    expected = stats.bootstrap(
        (VALUES,),
        np.mean,
        method="percentile",
        confidence_level=0.95,
        n_resamples=40_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert summary.low is not None
    assert summary.high is not None
    assert (summary.low, summary.high) == pytest.approx((expected.low, expected.high), abs=4e-4)
    assert min(VALUES) <= summary.low < summary.mean < summary.high <= max(VALUES)


def test_interval_depends_on_the_generator_alone() -> None:
    state = torch.get_rng_state()
    irregular = [math.sin(number) for number in range(40)]
    assert summarize(irregular, generator(1)) == summarize(irregular, generator(1))
    assert summarize(irregular, generator(1)).low != summarize(irregular, generator(2)).low
    assert torch.equal(state, torch.get_rng_state())


def test_a_single_value_has_no_interval_and_equal_values_a_point() -> None:
    assert asdict(summarize([0.9], generator())) == {
        "mean": 0.9, "std": 0.0, "n": 1, "low": None, "high": None, "confidence": 0.95,
    }  # fmt: skip
    same = summarize([0.5] * 4, generator())
    assert (same.std, same.low, same.high) == (0.0, 0.5, 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_p_value_counts_all_sign_patterns(seed: int) -> None:
    # Accuracies on 143 images, where ties abound.
    right = np.random.default_rng(seed).integers(120, 143, (2, 5))
    first, second = (right / 143).tolist()
    found = compare_paired(first, second, generator())
    differences = [a - b for a, b in zip(first, second, strict=True)]
    assert found.exact
    assert found.p_value == slow_p_value(differences)
    assert found.difference.mean == pytest.approx(statistics.mean(differences))
    assert found.difference.std == pytest.approx(statistics.stdev(differences))


def test_a_tie_that_rounding_hides_is_counted() -> None:
    # In images -12, 12, 15, -3, -13: odd sums only, so that no pattern is nearer to zero than the observed -1.
    first, second = [120, 140, 141, 125, 122], [132, 128, 126, 128, 135]
    found = compare_paired([a / 143 for a in first], [b / 143 for b in second], generator())
    assert found.p_value == 1.0


def test_p_value_equals_that_of_scipy_without_ties() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 9)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    found = compare_paired(differences.tolist(), [0.0] * 9, generator())
    assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_five_pairs_cannot_reach_five_percent_and_six_can() -> None:
    first = [0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    second = [value - 0.1 - 0.001 * number for number, value in enumerate(first)]
    five = compare_paired(first[:5], second[:5], generator())
    six = compare_paired(first, second, generator())
    assert five.p_value == five.smallest_p_value == 0.0625
    assert six.p_value == six.smallest_p_value == 0.03125
    assert five.difference.low is not None
    assert five.difference.low > 0.1


def test_exchanged_sets_have_the_same_p_value_and_the_opposite_difference() -> None:
    first, second = VALUES, [0.90, 0.93, 0.92, 0.91, 0.91, 0.90]
    there, back = compare_paired(first, second, generator()), compare_paired(second, first, generator())
    assert there.p_value == back.p_value < 1
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    same = compare_paired(first, first, generator())
    assert (same.p_value, same.difference.mean) == (1.0, 0.0)


def test_many_pairs_draw_patterns_and_agree_with_the_normal_approximation() -> None:
    differences = np.random.default_rng(3).normal(0.35, 1, 40)
    found = compare_paired(differences.tolist(), [0.0] * 40, generator())
    assert not found.exact
    z = differences.sum() / math.sqrt((differences**2).sum())
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)
    assert 0.01 < found.p_value < 0.2
    clear = compare_paired([1.0] * 40, [0.0] * 40, generator())
    assert clear.p_value == clear.smallest_p_value == 1 / 65537


def test_sixteen_pairs_are_exact() -> None:
    clear = compare_paired([1.0] * 16, [0.0] * 16, generator())
    assert clear.exact
    assert clear.p_value == clear.smallest_p_value == 2 / 65536


def test_no_difference_is_seldom_significant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_statistics, "NUM_RESAMPLES", 10)
    random = np.random.default_rng(8)
    p_values = [
        compare_paired(*random.normal(0, 1, (2, 8)).tolist(), generator()).p_value for _ in range(400)
    ]
    # 20 of 400 are expected below 0.05, with a deviation of 4.4.
    assert 7 <= sum(p <= 0.05 for p in p_values) <= 34


def test_scores_of_one_metric_are_compared() -> None:
    first, second = Score("accuracy", (0.9, 0.8, 0.7)), Score("accuracy", (0.8, 0.8, 0.5))
    found = compare_scores(first, second, generator())
    assert found == compare_paired(first.values, second.values, generator())
    assert found.p_value == 0.5
    assert found.difference.n == 3
    with pytest.raises(ConfigError, match="accuracy cannot be compared with balanced_accuracy"):
        compare_scores(first, Score("balanced_accuracy", (0.8, 0.8, 0.5)), generator())


@pytest.mark.parametrize(
    ("values", "message"), [([], "0 values"), ([0.5, math.nan], "value nan: statistics need finite")]
)
def test_bad_samples_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        summarize(values, generator())


def test_bad_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 values against 3"):
        compare_paired([0.1, 0.2], [0.1, 0.2, 0.3], generator())
    with pytest.raises(ConfigError, match=r"1 pairs: .* at least 2"):
        compare_paired([0.1], [0.2], generator())
