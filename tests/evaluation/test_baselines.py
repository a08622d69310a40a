"""Random real images, the whole set and the majority class."""

import pytest
import torch

from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.evaluation.baselines import majority_rate, random_baseline, random_real_sets, whole_set
from study.evaluation.protocol import EvaluationConfig


def test_random_sets_are_real_images_grouped_by_class_without_repeats(digits):
    for drawn in random_real_sets(digits.train, 7, 2, Generators(0)):
        assert torch.equal(drawn.labels, torch.arange(10).repeat_interleave(7))
        rows = drawn.images.flatten(1)
        assert len(rows.unique(dim=0)) == 70
        same = (rows[:, None] == digits.train.images.flatten(1)[None]).all(2)
        assert bool(same.any(1).all())
        assert torch.equal(digits.train.labels[same.int().argmax(1)], drawn.labels)


def test_draws_differ_from_each_other_and_repeat_from_their_seed(digits):
    first, second = random_real_sets(digits.train, 3, 2, Generators(0))
    assert not torch.equal(first.images, second.images)
    again = random_real_sets(digits.train, 3, 1, Generators(0))[0]
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, random_real_sets(digits.train, 3, 1, Generators(1))[0].images)


@pytest.mark.parametrize(("ipc", "num_draws"), [(0, 1), (10_000, 1), (1, 0)])
def test_impossible_draws_are_refused(digits, ipc, num_draws):
    with pytest.raises(ConfigError, match="must be"):
        random_real_sets(digits.train, ipc, num_draws, Generators(0))


def test_the_random_baseline_lies_where_it_should_and_beats_the_majority(digits, small_model, compute):
    seen = []
    score = random_baseline(
        digits.train, digits.validation, 1, small_model, EvaluationConfig(num_steps=60), digits.augmentation,
        compute, Generators(0), num_draws=4, on_seed=lambda index, value: seen.append((index, value)),
    )  # fmt: skip
    assert score.n == 4
    assert seen == list(enumerate(score.values))
    assert 0.45 < score.mean < 0.8
    assert majority_rate(digits.validation) < 0.15


def test_the_whole_set_holds_every_image_with_its_label(digits):
    whole = whole_set(digits.train)
    assert len(whole) == len(digits.train)
    assert bool((whole.labels.diff() >= 0).all())
    order = torch.argsort(digits.train.labels, stable=True)
    assert torch.equal(whole.images, digits.train.images[order])


def test_the_majority_rate_is_the_share_of_the_commonest_class(digits):
    labels = digits.validation.labels
    keep = torch.cat([torch.nonzero(labels == 3).flatten()[:6], torch.nonzero(labels == 5).flatten()[:2]])
    assert majority_rate(digits.validation.subset(keep)) == 0.75
