"""The evaluator: what it must leave alone, repeat, and reach."""

import dataclasses

import pytest
import torch

from study.core.device import Compute
from study.core.errors import ConfigError, DivergedError, ShapeError
from study.core.records import ImageDataset
from study.core.reporting import listening
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation import training
from study.evaluation.baselines import full_set, random_real_sets
from study.evaluation.evaluator import evaluation_seeds
from study.evaluation.recipes import EvaluationConfig
from study.evaluation.training_step import prepare_step
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, build_model

SHORT = EvaluationConfig(num_steps=20, num_seeds=2)


@pytest.fixture(scope="module")
def ten_a_class(digits):
    return random_real_sets(digits.train, 10, 1, Generators(0))[0]


@pytest.fixture(scope="module")
def score(evaluator):
    def run(synthetic, config=SHORT, seed=0, num_seeds=None, **changes):
        there = evaluator.changed(config=config, generators=Generators(seed), **changes)
        return there.score(synthetic, num_seeds)

    return run


def test_one_seed_gives_one_score_and_another_seed_another(score, ten_a_class):
    first, again = score(ten_a_class), score(ten_a_class)
    assert first.values == again.values
    assert first.n == 2
    assert first.values[0] != first.values[1]
    assert score(ten_a_class, seed=1).values != first.values


@pytest.mark.parametrize("augment", [True, False])
def test_the_set_and_the_global_generator_are_left_alone(score, ten_a_class, augment):
    logits = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    synthetic = dataclasses.replace(ten_a_class, logits=logits, step_size=0.01)
    before = [tensor.clone() for tensor in (synthetic.images, synthetic.labels, logits)]
    state = torch.get_rng_state()
    score(
        synthetic, EvaluationConfig(preset="datm", num_epochs=5, batch_size=64, augment=augment, num_seeds=1)
    )
    for tensor, old in zip((synthetic.images, synthetic.labels, synthetic.logits), before, strict=True):
        assert torch.equal(tensor, old)
        assert not tensor.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_more_seeds_keep_the_first_ones(score, ten_a_class):
    few, many = score(ten_a_class, num_seeds=1), score(ten_a_class, num_seeds=3)
    assert many.values[0] == pytest.approx(few.values[0], abs=0.02)
    assert len(many.values) == 3


def _train(evaluator, synthetic, config, count=3, **changes):
    augmentation = AugmentationConfig(strategy="crop_scale_rotate")
    there = evaluator.changed(config=config, augmentation=augmentation, **changes)
    networks = training.train_networks(there.job(synthetic), there.seeds(count))
    return torch.stack([flatten_parameters(network) for network in networks])


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("batch_size", [64, 256])
def test_stacked_seeds_learn_what_separate_seeds_learn(
    evaluator, ten_a_class, monkeypatch, set_room, augment, batch_size
):
    config = EvaluationConfig(num_steps=8, augment=augment, batch_size=batch_size)
    sizes = []
    prepare = training.prepare_step

    def counting(*args, num_networks, **kwargs):
        sizes.append(num_networks)
        return prepare(*args, num_networks=num_networks, **kwargs)

    monkeypatch.setattr(training, "prepare_step", counting)
    stacked = _train(evaluator, ten_a_class, config)
    assert sizes == [3]
    sizes.clear()
    set_room("stacked float32", 1)
    separate = _train(evaluator, ten_a_class, config)
    assert sizes == [1, 1, 1]
    torch.testing.assert_close(stacked, separate, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(stacked[0], stacked[1], atol=1e-2)


def test_training_is_plain_sgd_with_the_given_rates(evaluator, ten_a_class, small_model):
    config = EvaluationConfig(preset="dc", num_epochs=6)
    ours = _train(evaluator, ten_a_class, config, count=1)[0]
    network = build_model(small_model, (1, 8, 8), 10, evaluation_seeds(Generators(0), 1)[0]["init"], "cpu")
    velocity = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for rate in (0.01, 0.01, 0.01, 0.01, 0.001, 0.001):
        loss = torch.nn.functional.cross_entropy(network(ten_a_class.images), ten_a_class.labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient, speed in zip(network.parameters(), gradients, velocity, strict=True):
                speed.mul_(0.9).add_(gradient + 5e-4 * parameter)
                parameter.sub_(rate * speed)
    torch.testing.assert_close(ours, flatten_parameters(network), atol=1e-5, rtol=1e-3)


def test_shuffled_labels_teach_nothing(score, ten_a_class):
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    shuffled = dataclasses.replace(ten_a_class, labels=ten_a_class.labels[order])
    config = EvaluationConfig(num_steps=60, num_seeds=2)
    assert score(shuffled, config).mean == pytest.approx(0.1, abs=0.08)
    assert score(ten_a_class, config).mean > 0.85


def test_soft_labels_that_are_certain_are_hard_labels(score, ten_a_class):
    certain = torch.nn.functional.one_hot(ten_a_class.labels, 10).float() * 1e4
    soft = dataclasses.replace(ten_a_class, logits=certain)
    assert score(soft).values == pytest.approx(score(ten_a_class).values, abs=0.01)


def test_soft_labels_are_used_unless_turned_off(score, ten_a_class):
    misleading = torch.nn.functional.one_hot((ten_a_class.labels + 1) % 10, 10).float() * 1e4
    soft = dataclasses.replace(ten_a_class, logits=misleading)
    config = EvaluationConfig(num_steps=60, num_seeds=1)
    assert score(soft, config).mean < 0.1
    hard = score(soft, config.model_copy(update={"use_soft_labels": False}))
    assert hard.values == score(ten_a_class, config).values


def test_a_learned_step_size_is_the_rate_where_the_recipe_uses_it(evaluator, ten_a_class):
    learned = dataclasses.replace(ten_a_class, step_size=0.0625)
    lr = {
        use: evaluator.with_recipe(use_learned_step_size=use, lr=0.5).job(learned).lr for use in (True, False)
    }
    assert lr == {True: 0.0625, False: 0.5}


def test_a_negative_step_size_is_refused(score, ten_a_class):
    learned = dataclasses.replace(ten_a_class, step_size=-0.1)
    with pytest.raises(ConfigError, match=r"step size is -0.1"):
        score(learned, EvaluationConfig(preset="mtt", num_epochs=1))


def test_the_whole_real_set_reaches_its_usual_accuracy(score, digits):
    config = EvaluationConfig(num_epochs=8, lr=0.05, batch_size=64, num_seeds=2)
    assert score(full_set(digits.train), config).mean >= 0.97


def test_augmentation_changes_the_score_only_where_the_recipe_augments(score, ten_a_class):
    plain, augmented = (
        score(ten_a_class, EvaluationConfig(num_steps=30, num_seeds=2, augment=augment))
        for augment in (False, True)
    )
    assert plain.values != augmented.values


def test_unbalanced_real_images_are_scored_by_balanced_accuracy(score, digits, ten_a_class):
    labels = digits.validation.labels
    keep = torch.cat([torch.nonzero(labels != 3).flatten(), torch.nonzero(labels == 3).flatten()[:4]])
    result = score(ten_a_class, real=digits.validation.subset(keep))
    assert result.metric == "balanced_accuracy"
    assert set(result.extra) == {"accuracy"}
    assert result.extra["accuracy"] != result.values


def test_every_step_of_every_network_is_counted(score, ten_a_class):
    told = []
    with listening(lambda *work: told.append(work)):
        score(ten_a_class, num_seeds=3, seed=11)
    assert {(what, total) for what, _, total in told} == {("training networks", 3)}
    # Stacked or not, 20 steps of three networks: a start, every step of every stack, an end.
    assert len(told) in {1 + 20 + 1, 1 + 40 + 1, 1 + 60 + 1}
    done = [one for _, one, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-2], done[-1]) == (0, pytest.approx(3), 3)


def test_a_set_that_was_scored_before_is_not_trained_on_again(evaluator, ten_a_class, monkeypatch):
    there = evaluator.changed()
    first = there.reseeded("trial").score(ten_a_class)
    assert there.reseeded("rung").score(ten_a_class).values != first.values
    monkeypatch.setattr("study.evaluation.evaluator.train_networks", None)
    copied = dataclasses.replace(ten_a_class, images=ten_a_class.images.clone())
    assert there.reseeded("trial").score(copied) is first
    with pytest.raises(TypeError):
        there.changed(model=ModelConfig(width=8)).reseeded("trial").score(ten_a_class)


def test_a_score_is_extended_by_networks_that_were_not_trained_yet(evaluator, ten_a_class, monkeypatch):
    fresh = evaluator.changed(config=SHORT)
    trained = []
    monkeypatch.setattr(
        training,
        "prepare_step",
        lambda *what, **how: trained.append(how["num_networks"]) or prepare_step(*what, **how),
    )
    two = fresh.score(ten_a_class, 2)
    assert sum(trained) == 2
    five = fresh.extend(ten_a_class, two, 5)
    assert sum(trained) == 5
    assert five.values[:2] == two.values
    assert five.values == pytest.approx(fresh.changed(config=SHORT).score(ten_a_class, 5).values, abs=0.02)
    trained.clear()
    assert fresh.extend(ten_a_class, two, 5) is five
    assert fresh.extend(ten_a_class, five, 5).values == five.values
    assert trained == []


def test_sets_that_differ_in_what_the_recipe_leaves_out_share_a_score(evaluator, ten_a_class):
    other = dataclasses.replace(ten_a_class, step_size=0.5)
    fresh = evaluator.changed(config=SHORT)
    assert fresh.score(other) is fresh.score(ten_a_class)
    learning = evaluator.changed(config=SHORT.model_copy(update={"use_learned_step_size": True}))
    assert learning.score(other).values != learning.score(ten_a_class).values


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_images_or_soft_labels_that_are_not_finite_are_refused(score, ten_a_class, value):
    images = ten_a_class.images.clone()
    images[3, 0, 0, 0] = value
    with pytest.raises(DivergedError, match="a synthetic image is not finite"):
        score(dataclasses.replace(ten_a_class, images=images))
    with pytest.raises(DivergedError, match="a soft label is not finite"):
        score(dataclasses.replace(ten_a_class, logits=torch.full((100, 10), value)))


def test_a_diverging_network_scores_chance(score, ten_a_class):
    result = score(ten_a_class, EvaluationConfig(num_steps=20, lr=1e9, num_seeds=2))
    assert all(0.0 <= value <= 0.25 for value in result.values)


def test_a_set_that_does_not_fit_the_real_images_is_refused(score, ten_a_class):
    narrow = dataclasses.replace(ten_a_class, images=ten_a_class.images[:, :, :7])
    with pytest.raises(ShapeError, match="real images 10 of"):
        score(narrow)
    empty = ImageDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), ten_a_class.class_names)
    with pytest.raises(ShapeError, match="on 0 real images"):
        score(ten_a_class, real=empty)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_other_norms_train_too(score, ten_a_class, norm):
    config = EvaluationConfig(num_steps=60, num_seeds=2)
    assert score(ten_a_class, config, model=ModelConfig(width=16, norm=norm)).mean > 0.6


def test_reduced_precision_scores_alike(score, ten_a_class):
    low = Compute(torch.device("cpu"), torch.bfloat16, "off")
    config = EvaluationConfig(num_steps=60, num_seeds=2)
    assert score(ten_a_class, config, compute=low).mean == pytest.approx(
        score(ten_a_class, config).mean, abs=0.03
    )


def test_compilation_waits_for_enough_work_and_asks_no_clock(evaluator, ten_a_class, monkeypatch):
    asked = []
    monkeypatch.setattr(Compute, "should_compile", lambda self, *seconds: bool(asked.append(seconds)))
    auto = evaluator.changed(compute=Compute(torch.device("cpu"), torch.float32, "auto"))
    for _ in range(2):
        for count in (1, 100):
            next(training.train_networks(auto.job(ten_a_class), evaluation_seeds(Generators(0), 1), count))
    assert asked[0] == asked[2]
    assert asked[1][0] == pytest.approx(100 * asked[0][0])


@pytest.mark.slow
def test_compiled_seeds_learn_what_uncompiled_seeds_learn(evaluator, ten_a_class, compute):
    config = EvaluationConfig(num_steps=8)
    compiled = _train(evaluator, ten_a_class, config, compute=dataclasses.replace(compute, compile="on"))
    plain = _train(evaluator, ten_a_class, config)
    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=1e-3)


@pytest.mark.gpu
def test_networks_trained_on_cuda_are_those_of_the_cpu(evaluator, ten_a_class, compute, cuda):
    config = EvaluationConfig(num_steps=8, augment=True, batch_size=32)
    there = _train(evaluator, ten_a_class, config, compute=dataclasses.replace(compute, device=cuda))
    torch.testing.assert_close(there.cpu(), _train(evaluator, ten_a_class, config), atol=2e-3, rtol=2e-2)


@pytest.mark.gpu
def test_scores_on_cuda_are_those_of_the_cpu(score, ten_a_class, compute, cuda):
    config = EvaluationConfig(num_steps=60, num_seeds=2)
    there = score(ten_a_class, config, compute=dataclasses.replace(compute, device=cuda))
    assert there.mean == pytest.approx(score(ten_a_class, config).mean, abs=0.02)
