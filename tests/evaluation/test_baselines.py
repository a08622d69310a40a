"""Random real images, the whole set and the majority class."""

import dataclasses

import pytest
import torch

from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.evaluation.baselines import full_set, majority_rate, random_real_sets
from study.evaluation.evaluator import Evaluator


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


@pytest.fixture
def score(evaluator, monkeypatch, tmp_path):
    """``score(seed=0, real=None, num_draws=2, **recipe)`` scores random images, with an empty cache."""
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))

    def with_settings(seed=0, real=None, num_draws=2, ipc=1, **recipe):
        there = evaluator.with_recipe(**recipe).changed(draws=Generators(seed), real=real or evaluator.real)
        return there.random(ipc, num_draws)

    return with_settings


@pytest.fixture
def trained(monkeypatch):
    """Sets that networks were trained on, in order."""
    seen = []
    train = Evaluator._train

    def record(self, drawn, *rest):
        seen.append(drawn)
        return train(self, drawn, *rest)

    monkeypatch.setattr(Evaluator, "_train", record)
    return seen


def test_the_random_baseline_lies_where_it_should_and_beats_the_majority(score, digits):
    found = score(num_draws=4, num_steps=60)
    assert found.n == 4
    assert 0.45 < found.mean < 0.8
    assert majority_rate(digits.validation) < 0.15


def test_the_random_baseline_is_the_mean_of_one_evaluation_a_draw(score, evaluator):
    drawn = random_real_sets(evaluator.train, 1, 2, Generators(0))
    expected = [
        evaluator.changed(generators=Generators(0).child("random", index)).score(one, 1).mean
        for index, one in enumerate(drawn)
    ]
    assert list(score().values) == expected


def test_random_images_are_trained_on_once(score, trained):
    first = score()
    assert len(trained) == 2
    assert score() == first
    assert score(use_soft_labels=False, use_schedule=False, use_learned_step_size=True) == first
    assert len(trained) == 2


def test_whatever_changes_the_score_is_trained_anew(score, trained, digits):
    score()
    some = digits.validation.subset(torch.arange(len(digits.validation) - 1))
    flipped = dataclasses.replace(digits.validation, labels=digits.validation.labels.flip(0))
    changes = [
        {"seed": 1}, {"num_draws": 1}, {"ipc": 2}, {"lr": 0.5}, {"num_steps": 19}, {"augment": True},
        {"real": some}, {"real": flipped},
    ]  # fmt: skip
    for change in changes:
        before = len(trained)
        score(**change)
        assert len(trained) > before, change


def test_a_damaged_score_is_trained_again(score, trained, tmp_path):
    first = score()
    (file,) = tmp_path.rglob("random-images-*.safetensors")
    whole = file.read_bytes()
    # Its last bytes are values: the file stays readable, and says something else.
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = score()
    assert len(trained) == 4
    assert (again.values, again.extra) == (first.values, first.extra)


def test_the_whole_set_holds_every_image_with_its_label(digits):
    whole = full_set(digits.train)
    assert len(whole) == len(digits.train)
    assert bool((whole.labels.diff() >= 0).all())
    order = torch.argsort(digits.train.labels, stable=True)
    assert torch.equal(whole.images, digits.train.images[order])


def test_the_majority_rate_is_the_share_of_the_commonest_class(digits):
    labels = digits.validation.labels
    keep = torch.cat([torch.nonzero(labels == 3).flatten()[:6], torch.nonzero(labels == 5).flatten()[:2]])
    assert majority_rate(digits.validation.subset(keep)) == 0.75
