"""Pools of architectures: who takes part, at which learning rate, and what is told of them all."""

import dataclasses

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.core.records import Score
from study.core.seeding import Generators
from study.evaluation.architectures import (
    POOLS,
    RATE_FACTORS,
    Bench,
    Contender,
    CrossScore,
    build_pool,
    choose_learning_rate,
    parse_model,
)
from study.evaluation.baselines import random_baseline, random_real_sets
from study.evaluation.protocol import EvaluationConfig, evaluate
from study.models.pool import MODELS, ModelConfig

OWN = ModelConfig(name="convnet", width=8)
DIGITS = (1, 8, 8)


@pytest.fixture
def bench(digits, compute):
    config = EvaluationConfig(num_steps=20)
    return Bench(
        digits.train, digits.validation, config, digits.augmentation, compute, Generators(0)
    )  # fmt: skip


def test_full_pool_has_every_architecture_and_fits_digits():
    models = [parse_model(name) for name in POOLS["full"]]
    fitting, unfit = build_pool(models, OWN, DIGITS, 10)
    assert list(fitting) == list(MODELS)
    assert len(fitting) >= 8
    assert not unfit
    assert fitting["convnet"] is OWN


def test_architectures_that_do_not_fit_are_told_with_the_reason():
    fitting, unfit = build_pool([parse_model("mlp"), parse_model("alexnet")], OWN, (1, 2, 2), 10)
    assert list(fitting) == ["mlp"]
    assert "4" in unfit["alexnet"]


def test_width_is_read_from_the_name():
    assert parse_model("resnet18:16") == ModelConfig(name="resnet18", width=16)
    assert parse_model("mlp").width is None
    with pytest.raises(ConfigError, match="name:width"):
        parse_model("mlp:wide")
    with pytest.raises(UnknownNameError, match="lenet"):
        parse_model("lenett")
    with pytest.raises(ConfigError, match="named twice"):
        build_pool([parse_model("mlp"), parse_model("mlp:64")], OWN, DIGITS, 10)


def test_mean_and_worst_leave_out_the_own_architecture():
    scores = {
        "convnet": Score("accuracy", (0.1, 0.1)),
        "mlp": Score("accuracy", (0.5, 0.7)),
        "lenet": Score("accuracy", (0.8, 1.0)),
    }
    cross = CrossScore(scores, "convnet")
    assert cross.mean == pytest.approx(0.75)
    assert cross.worst == pytest.approx(0.6)
    assert cross.metrics() == pytest.approx(
        {"convnet": 0.1, "mlp": 0.6, "lenet": 0.9, "mean": 0.75, "worst": 0.6}
    )
    alone = CrossScore({"convnet": scores["convnet"]}, "convnet")
    assert alone.mean is None
    assert set(alone.metrics()) == {"convnet"}


def test_own_architecture_keeps_the_recipe_and_others_get_a_rate_of_the_grid(bench):
    own = bench.contender("convnet", OWN, OWN, 1)
    assert own.is_own
    assert own.config is bench.config
    other = bench.contender("mlp", ModelConfig(name="mlp"), OWN, 1)
    assert not other.is_own
    assert other.config.use_learned_step_size is False
    normed = bench.contender("resnet18", ModelConfig(name="resnet18", width=8), OWN, 1)
    assert normed.config.resolve().lr == bench.config.resolve().lr
    base = bench.config.resolve().lr
    assert other.config.lr in [base * factor for factor in RATE_FACTORS]


def test_rate_is_the_best_of_the_grid_on_validation(bench):
    model = ModelConfig(name="mlp", width=16)
    # Half of this rate trains the network, the rate itself and more blow it up.
    hot = EvaluationConfig(num_steps=20, lr=1.0)
    assert choose_learning_rate(bench, model, hot, 1) == pytest.approx(0.5)
    means = {
        rate: random_baseline(
            bench.train, bench.validation, 1, model, EvaluationConfig(num_steps=20, lr=rate),
            bench.augmentation, bench.compute, Generators(0).child("learning-rate").child("random"), num_draws=2,
        ).mean
        for rate in (0.01, 0.02, 0.04, 0.08)
    }  # fmt: skip
    mild = EvaluationConfig(num_steps=20, lr=0.02)
    assert choose_learning_rate(bench, model, mild, 1) == pytest.approx(max(means, key=means.__getitem__))


def test_learning_rate_never_looks_at_test(digits, bench):
    before = list(digits.test.reasons)
    bench.contender("mlp", ModelConfig(name="mlp", width=16), OWN, 1)
    assert list(digits.test.reasons) == before


def test_score_is_that_of_the_evaluator_and_two_sets_share_seeds(digits, bench, compute):
    first, second = random_real_sets(digits.train, 1, 2, Generators(5))
    mlp = Contender("mlp", ModelConfig(name="mlp", width=16), bench.config)
    score = bench.score(first, digits.validation, mlp, 2)
    expected = evaluate(
        first, digits.validation, mlp.model, mlp.config, digits.augmentation, compute, bench.seeds(mlp),
        num_seeds=2,
    )  # fmt: skip
    assert score.values == expected.values
    assert bench.score(second, digits.validation, mlp, 2).values != score.values
    own = Contender("convnet", OWN, bench.config, is_own=True)
    assert bench.seeds(own).seed == bench.generators.seed != bench.seeds(mlp).seed
    assert bench.seeds(mlp).seed == bench.seeds(mlp).seed


def test_learned_step_size_belongs_to_the_own_architecture(digits, bench):
    (drawn,) = random_real_sets(digits.train, 1, 1, Generators(5))
    learned = dataclasses.replace(drawn, step_size=1e-9)
    config = EvaluationConfig(num_steps=20, use_learned_step_size=True)
    bench = dataclasses.replace(bench, config=config)
    mlp = bench.contender("mlp", ModelConfig(name="mlp", width=16), OWN, 1)
    assert bench.score(learned, digits.validation, mlp, 2).values == (
        bench.score(drawn, digits.validation, mlp, 2).values
    )


def test_seeds_of_another_purpose_differ(digits, bench):
    (drawn,) = random_real_sets(digits.train, 1, 1, Generators(5))
    mlp = Contender("mlp", ModelConfig(name="mlp", width=16), bench.config)
    rung = bench.reseeded("rung").score(drawn, digits.validation, mlp, 2)
    assert rung.values != bench.reseeded("trial").score(drawn, digits.validation, mlp, 2).values
