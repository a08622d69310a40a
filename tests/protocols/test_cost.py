"""What training costs, and the shortest training that reaches an accuracy."""

import pytest
import torch

from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.evaluation.baselines import random_real_sets
from study.evaluation.recipes import EvaluationConfig
from study.models.work import work_of_model
from study.protocols.cost import cheapest_training, stored_bytes, training_cost


@pytest.fixture(scope="module")
def drawn(digits):
    return random_real_sets(digits.train, 10, 1, Generators(0))[0]


def test_cost_counts_short_batches_and_gives_the_evaluators_accuracy(evaluator, drawn):
    there = evaluator.changed(config=EvaluationConfig(num_epochs=5, batch_size=64), generators=Generators(2))
    cost = training_cost(there.job(drawn), there.real, there.seeds(2))
    score = there.score(drawn, 2)
    assert cost.num_steps == 10
    assert cost.flops == 5 * 100 * work_of_model(there.model, (1, 8, 8), 10).training_flops
    assert (cost.accuracy, cost.std) == pytest.approx((score.mean, score.std))
    assert cost.seconds > 0


def test_the_shortest_training_is_the_first_of_the_grid_that_arrives(evaluator, drawn, monkeypatch):
    tried = []

    def recorded(*args, **named):
        tried.append(training_cost(*args, **named))
        return tried[-1]

    monkeypatch.setattr("study.protocols.cost.training_cost", recorded)
    there = evaluator.changed(config=EvaluationConfig(), generators=Generators(2))
    found = cheapest_training(drawn, 0.6, there, num_seeds=2, max_steps=200)
    assert found.reached
    assert found == tried[-1]
    assert all(not cost.reached for cost in tried[:-1])
    assert [cost.num_steps for cost in tried][:3] == [4, 6, 9][: len(tried)]
    missed = cheapest_training(drawn, 1.0, there, num_seeds=1, max_steps=5)
    assert (missed.num_steps, missed.reached) == (5, False)


@pytest.mark.parametrize(("target", "max_steps"), [(1.5, 5), (0.5, 0)])
def test_wrong_settings_are_refused(evaluator, drawn, target, max_steps):
    with pytest.raises(ConfigError, match="must be"):
        cheapest_training(drawn, target, evaluator, max_steps=max_steps)


def test_bytes_of_pixels_and_labels():
    images, labels = torch.zeros(10, 1, 8, 8), torch.zeros(10, dtype=torch.int64)
    assert stored_bytes(images, labels, None) == 10 * 64 * 4 + 80
    assert stored_bytes(images, pixel_bytes=1) == 640
