"""Noise at level 0 changes nothing, much of it leaves chance, and annotators' agreement is told apart."""

from dataclasses import replace

import pytest
import torch

from study.core.errors import ConfigError, ShapeError
from study.core.records import StepSchedule
from study.core.seeding import Generators
from study.evaluation.baselines import random_real_sets
from study.protocols.noise import NoiseTest, accuracy_by_agreement


@pytest.fixture(scope="module")
def sets(digits):
    return random_real_sets(digits.train, 5, 2, Generators(0))


MEASURES = [NoiseTest.on_training_images, NoiseTest.on_real_images]


@pytest.fixture
def learner(evaluator):
    return evaluator.with_recipe(num_steps=60).changed(generators=Generators(4))


@pytest.fixture
def build(learner):
    return lambda **more: NoiseTest(learner, 1.0, **more)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_noise_is_the_plain_score_and_much_noise_is_chance(sets, learner, build, measure):
    clean, noisy = measure(build(levels=(0.0, 30.0), num_seeds=2), sets[:1])
    assert clean.values == pytest.approx(learner.score(sets[0], 2).values)
    assert clean.mean > 0.7
    assert noisy.mean < 0.4


@pytest.mark.parametrize("measure", MEASURES)
def test_one_set_a_seed_gives_one_value_each_and_repeats(sets, build, measure):
    first, again = (measure(build(levels=(0.2,), num_seeds=2), sets) for _ in range(2))
    assert first[0].n == 2
    assert first[0].values == again[0].values


def test_the_set_is_left_as_it_was(sets, build):
    before = sets[0].images.clone()
    build(levels=(1.0,), num_seeds=1).on_training_images(sets[:1])
    assert torch.equal(sets[0].images, before)


def test_agreement_counts_annotators_of_the_majority_class():
    labels = torch.tensor([0, 0, 1, 1, 1])
    votes = torch.tensor([0, 3, 4, 7, 7])
    right = torch.tensor([True, False, True, True, False])
    logits = torch.nn.functional.one_hot(torch.where(right, labels, 1 - labels), 2).float()
    assert accuracy_by_agreement(logits, labels, votes, 7) == {
        "accuracy_agreement_4": 0.5,
        "accuracy_agreement_7": pytest.approx(2 / 3),
    }
    with pytest.raises(ShapeError, match="up to 7"):
        accuracy_by_agreement(logits, labels, votes, 5)


def test_agreement_stands_beside_the_accuracy(learner, digits, sets):
    keep = sets[0].labels < 2
    pair = type(sets[0])(sets[0].images[keep], sets[0].labels[keep], ("0", "1"))
    real = digits.validation
    real = type(real)(real.images[real.labels < 2], real.labels[real.labels < 2], ("0", "1"))
    votes = torch.where(real.labels == 1, 7, torch.arange(len(real)) % 4)
    there = learner.changed(real=real, generators=Generators(1))
    test = NoiseTest(there, 1.0, levels=(0.0,), num_seeds=1, votes=votes, num_annotators=7)
    (score,) = test.on_real_images([pair])
    assert {
        "accuracy_agreement_4",
        "accuracy_agreement_5",
        "accuracy_agreement_6",
        "accuracy_agreement_7",
    } <= set(score.extra)
    agreement = torch.maximum(votes, 7 - votes)
    parts = {int(k): float((agreement == k).float().mean()) for k in agreement.unique()}
    assert sum(parts[k] * score.extra[f"accuracy_agreement_{k}"][0] for k in parts) == pytest.approx(
        score.mean
    )


@pytest.mark.parametrize(("levels", "num_seeds"), [((-0.1,), 2), ((float("nan"),), 2), ((), 2), ((0.1,), 3)])
def test_wrong_settings_are_refused(sets, build, levels, num_seeds):
    with pytest.raises(ConfigError):
        build(levels=levels, num_seeds=num_seeds).on_training_images(sets)


@pytest.mark.parametrize("measure", MEASURES)
def test_steps_of_one_network_give_one_value(sets, build, measure):
    steps = StepSchedule(torch.zeros(3, 2, dtype=torch.int64), torch.full((3,), 0.01), network_seed=5)
    (score,) = measure(build(levels=(0.0,), num_seeds=2), [replace(sets[0], schedule=steps)])
    assert score.n == 1
