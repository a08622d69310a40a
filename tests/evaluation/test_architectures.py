"""Pools of architectures: who takes part, at which learning rate, and what is told of them all."""

import dataclasses
import threading

import pytest
import torch

from study.core.errors import ConfigError, UnknownNameError
from study.core.records import Score
from study.core.seeding import Generators
from study.evaluation.architectures import (
    POOLS,
    RATE_FACTORS,
    ArchitecturePool,
    CrossScore,
    build_pool,
    choose_learning_rate,
    parse_model,
)
from study.evaluation.baselines import random_real_sets
from study.evaluation.recipes import EvaluationConfig
from study.models.pool import MODELS, ModelConfig

OWN = ModelConfig(name="convnet", width=8)
DIGITS = (1, 8, 8)


MLP = ModelConfig(name="mlp", width=16)
RESNET = ModelConfig(name="resnet18", width=8)


@pytest.fixture
def pool(evaluator):
    """``pool(evaluator=...)``: the ConvNet that sets are distilled with, an MLP and a ResNet."""

    default = evaluator.changed(model=OWN, config=EvaluationConfig(num_steps=20))

    def build(evaluator=default):
        models = {"convnet": OWN, "mlp": MLP, "resnet18": RESNET}
        return ArchitecturePool(evaluator, models, 1, 2, evaluator.real)

    return build


@pytest.fixture
def drawn(digits):
    return random_real_sets(digits.train, 1, 2, Generators(5))


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


def test_own_architecture_keeps_the_recipe_and_others_get_a_rate_of_the_grid(pool):
    some = pool()
    own, recipe = some.members["convnet"], some.evaluator.config
    assert own.is_own
    assert own.config is recipe
    other = some.members["mlp"]
    assert not other.is_own
    assert other.config.use_learned_step_size is False
    base = recipe.resolve().lr
    assert some.members["resnet18"].config.resolve().lr == base
    assert other.config.lr in [base * factor for factor in RATE_FACTORS]


def test_rate_is_the_best_of_the_grid_on_validation(evaluator):
    # Half of this rate trains the network, the rate itself and more blow it up.
    hot = EvaluationConfig(num_steps=20, lr=1.0)
    assert choose_learning_rate(evaluator, MLP, hot, 1) == pytest.approx(0.5)
    draws = Generators(0).child("random").child("learning-rate").child("random")
    means = {
        rate: evaluator.changed(model=MLP, config=EvaluationConfig(num_steps=20, lr=rate), draws=draws)
        .random(1, 2)
        .mean
        for rate in (0.01, 0.02, 0.04, 0.08)
    }
    mild = EvaluationConfig(num_steps=20, lr=0.02)
    assert choose_learning_rate(evaluator, MLP, mild, 1) == pytest.approx(max(means, key=means.__getitem__))


def test_learning_rate_never_looks_at_test(digits, pool, evaluator):
    before = list(digits.test.reasons)
    on_test = evaluator.changed(model=OWN, real=digits.validation.subset(torch.arange(5)))
    some = ArchitecturePool(on_test, {"mlp": MLP}, 1, 2, digits.validation)
    assert some.members["mlp"].config.lr == pool(evaluator.changed(model=OWN)).members["mlp"].config.lr
    assert list(digits.test.reasons) == before


def test_score_is_that_of_the_evaluator_and_two_sets_share_seeds(pool, drawn):
    some = pool()
    member = some.members["mlp"]
    score = some.score_on(member, drawn[0])
    seeds = some.evaluator.generators.child("architecture", "mlp")
    alone = some.evaluator.changed(model=MLP, config=member.config, generators=seeds)
    assert score.values == alone.score(drawn[0], 2).values
    assert some.score_on(member, drawn[1]).values != score.values
    own = some.score_on(some.members["convnet"], drawn[0])
    assert own.values == some.evaluator.score(drawn[0], 2).values


def test_all_architectures_get_the_same_random_images(pool):
    some = pool()
    for name in ("convnet", "mlp"):
        member = some.members[name]
        alone = some.evaluator.changed(
            model=member.model, config=member.config, draws=some.evaluator.generators.child("random")
        )
        assert some.random.scores[name].values == alone.random(1, 2).values


def test_learned_step_size_belongs_to_the_own_architecture(pool, drawn, evaluator):
    learned = dataclasses.replace(drawn[0], step_size=1e-9)
    config = EvaluationConfig(num_steps=20, use_learned_step_size=True)
    some = pool(evaluator.changed(model=OWN, config=config))
    member = some.members["mlp"]
    assert some.score_on(member, learned).values == some.score_on(member, drawn[0]).values


def test_seeds_of_another_purpose_differ(pool, drawn):
    some = pool()
    member = some.members["mlp"]
    rung, trial = (some.score_on(member, drawn[0], purpose) for purpose in ("rung", "trial"))
    assert rung.values != trial.values


def _scores_side_by_side(pool, synthetic):
    return pool.side_by_side(lambda name: pool.score_on(pool.member(name), synthetic).values)


def test_side_by_side_or_alone_the_scores_are_the_same(pool, drawn, monkeypatch):
    some = pool()
    tables = []
    for cores in (1, 3):
        monkeypatch.setattr("study.evaluation.architectures.num_cores", lambda cores=cores: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        tables.append(_scores_side_by_side(pool(some.evaluator.changed()), drawn[0]))
    assert tables[0] == tables[1]
    assert list(tables[0]) == list(some.models)


def test_an_error_stops_what_has_not_begun(evaluator, monkeypatch):
    monkeypatch.setattr("study.evaluation.architectures.num_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    begun, may_end = [], threading.Event()

    def work(name):
        begun.append(name)
        if name == "bad":
            raise ValueError(name)
        may_end.wait(0.2)

    names = ["bad", *map(str, range(20))]
    with pytest.raises(ValueError, match="bad"):
        ArchitecturePool(evaluator, dict.fromkeys(names, MLP), 1, 2, evaluator.real).side_by_side(work)
    assert len(begun) < 10
