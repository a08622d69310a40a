from __future__ import annotations

import math

import pytest

from study.core.errors import ConfigError
from study.protocols.ranking import augmentation_robust_score, label_robust_score

NO_BETTER = (1 - math.exp(-1)) / (math.e - math.exp(-1))
LABELS: dict[str, float] = {
    "real_hard": 0.9,
    "synthetic_hard": 0.6,
    "synthetic_own": 0.7,
    "random_own": 0.4,
}
AUGMENTATION: dict[str, float] = {
    "synthetic_augmented": 0.7,
    "random_augmented": 0.4,
    "synthetic_plain": 0.6,
    "random_plain": 0.5,
}


def labels(**changes: float) -> dict[str, float]:
    return label_robust_score(**LABELS | changes)


def augmentation(**changes: float) -> dict[str, float]:
    return augmentation_robust_score(**AUGMENTATION | changes)


def test_label_score_equals_the_formula_by_hand() -> None:
    assert labels() == {
        "hard_label_recovery": pytest.approx(0.3),
        "improvement_over_random": pytest.approx(0.3),
        "score": pytest.approx(NO_BETTER),
    }
    weighted = labels(weight=0.8)
    # 0.8 · 0.3 - 0.2 · 0.3 = 0.18
    assert weighted["score"] == pytest.approx((1.1972173631 - 0.3678794412) / 2.3504023873)


def test_augmentation_score_equals_the_formula_by_hand() -> None:
    scores = augmentation()
    assert (scores["improvement_augmented"], scores["improvement_plain"]) == pytest.approx((0.3, 0.1))
    # 0.5 · 0.3 + 0.5 · 0.1 = 0.2
    assert scores["score"] == pytest.approx((1.2214027582 - 0.3678794412) / 2.3504023873)
    assert augmentation(weight=1.0)["score"] > scores["score"] > augmentation(weight=0.0)["score"]


def test_worst_and_best_are_zero_and_one() -> None:
    worst = labels(real_hard=1.0, synthetic_hard=0.0, synthetic_own=0.0, random_own=1.0)
    best = labels(real_hard=0.0, synthetic_hard=1.0, synthetic_own=1.0, random_own=0.0)
    assert (worst["score"], best["score"]) == pytest.approx((0.0, 1.0))
    assert augmentation(synthetic_augmented=0, random_augmented=1, synthetic_plain=0, random_plain=1)[
        "score"
    ] == pytest.approx(0.0)
    assert augmentation(synthetic_augmented=1, random_augmented=0, synthetic_plain=1, random_plain=0)[
        "score"
    ] == pytest.approx(1.0)


def test_a_set_like_the_real_one_and_no_better_than_random_scores_27_percent() -> None:
    same = labels(real_hard=0.8, synthetic_hard=0.8, synthetic_own=0.8, random_own=0.8)
    assert same["score"] == pytest.approx(0.2689, abs=5e-5)
    flat = augmentation(synthetic_augmented=0.6, random_augmented=0.6, synthetic_plain=0.5, random_plain=0.5)
    assert flat["score"] == pytest.approx(0.2689, abs=5e-5)


def test_scores_rise_with_the_improvement_and_fall_with_the_recovery() -> None:
    grid = [0.0, 0.2, 0.5, 0.9, 1.0]
    rising = [
        [labels(synthetic_own=x)["score"] for x in grid],
        [labels(synthetic_hard=x)["score"] for x in grid],
        [augmentation(synthetic_augmented=x)["score"] for x in grid],
        [augmentation(synthetic_plain=x)["score"] for x in grid],
    ]
    falling = [
        [labels(random_own=x)["score"] for x in grid],
        [labels(real_hard=x)["score"] for x in grid],
        [augmentation(random_plain=x)["score"] for x in grid],
    ]
    for scores in rising:
        assert scores == sorted(set(scores))
    for scores in falling:
        assert scores == sorted(set(scores), reverse=True)


@pytest.mark.parametrize("bad", [56.5, 1.0001, -0.1, math.nan])
@pytest.mark.parametrize("name", [*LABELS, *AUGMENTATION])
def test_percentages_are_refused(name: str, bad: float) -> None:
    with pytest.raises(ConfigError, match=rf"{name} = {bad:g}: must be a fraction"):
        (labels if name in LABELS else augmentation)(**{name: bad})


def test_weight_is_a_fraction() -> None:
    with pytest.raises(ConfigError, match=r"weight = 2: must be a fraction"):
        labels(weight=2.0)
