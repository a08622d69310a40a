"""What training costs, and the shortest training that reaches an accuracy."""

import pytest
import torch

from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.evaluation.baselines import random_real_sets
from study.evaluation.cost import cheapest_training, stored_bytes, training_cost
from study.evaluation.protocol import EvaluationConfig, build_job, evaluate, evaluation_seeds
from study.models.work import work_of_model


@pytest.fixture(scope="module")
def drawn(digits):
    return random_real_sets(digits.train, 10, 1, Generators(0))[0]


def test_cost_counts_short_batches_and_gives_the_evaluators_accuracy(digits, small_model, compute, drawn):
    config = EvaluationConfig(num_epochs=5, batch_size=64)
    job = build_job(drawn, small_model, config.resolve(), digits.augmentation, compute)
    cost = training_cost(job, digits.validation, evaluation_seeds(Generators(2), 2))
    score = evaluate(
        drawn,
        digits.validation,
        small_model,
        config,
        digits.augmentation,
        compute,
        Generators(2),
        num_seeds=2,
    )
    assert cost.num_steps == 10
    assert cost.flops == 5 * 100 * work_of_model(small_model, (1, 8, 8), 10).training_flops
    assert (cost.accuracy, cost.std) == pytest.approx((score.mean, score.std))
    assert cost.seconds > 0


def test_the_shortest_training_is_the_first_of_the_grid_that_arrives(digits, small_model, compute, drawn):
    tried = []
    common = (small_model, EvaluationConfig(), digits.augmentation, compute, Generators(2))
    found = cheapest_training(
        drawn, digits.validation, 0.6, *common, num_seeds=2, max_steps=200, on_try=tried.append
    )
    assert found.reached
    assert found == tried[-1]
    assert all(not cost.reached for cost in tried[:-1])
    assert [cost.num_steps for cost in tried][:3] == [4, 6, 9][: len(tried)]
    missed = cheapest_training(drawn, digits.validation, 1.0, *common, num_seeds=1, max_steps=5)
    assert (missed.num_steps, missed.reached) == (5, False)


@pytest.mark.parametrize(("target", "max_steps"), [(1.5, 5), (0.5, 0)])
def test_wrong_settings_are_refused(digits, small_model, compute, drawn, target, max_steps):
    with pytest.raises(ConfigError, match="must be"):
        cheapest_training(
            drawn, digits.validation, target, small_model, EvaluationConfig(), digits.augmentation, compute,
            Generators(0), max_steps=max_steps,
        )  # fmt: skip


def test_bytes_of_pixels_and_labels():
    images, labels = torch.zeros(10, 1, 8, 8), torch.zeros(10, dtype=torch.int64)
    assert stored_bytes(images, labels, None) == 10 * 64 * 4 + 80
    assert stored_bytes(images, pixel_bytes=1) == 640
