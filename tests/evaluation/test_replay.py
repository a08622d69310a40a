"""A set that was learned with its steps is trained on by exactly these steps."""

import dataclasses

import pytest
import torch

from study.core.device import Compute
from study.core.records import StepSchedule
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation import training
from study.evaluation.baselines import random_real_sets
from study.evaluation.evaluator import evaluation_seeds
from study.evaluation.recipes import EvaluationConfig
from study.models.flat_params import flatten_parameters
from study.models.pool import build_model

ORDER = torch.arange(20).view(10, 2).T.repeat(2, 1).contiguous()
SIZES = torch.tensor([0.3, 0.1, 0.05, 0.2])
# Everything here would change an ordinary training.
ELSE = EvaluationConfig(num_steps=9, lr=0.7, momentum=0.5, weight_decay=0.1, augment=True, num_seeds=3)


@pytest.fixture(scope="module")
def two_a_class(digits):
    return random_real_sets(digits.train, 2, 1, Generators(0))[0]


@pytest.fixture(scope="module")
def scheduled(two_a_class):
    return dataclasses.replace(two_a_class, schedule=StepSchedule(ORDER, SIZES))


def changed(synthetic, **changes):
    return dataclasses.replace(synthetic, schedule=dataclasses.replace(synthetic.schedule, **changes))


@pytest.fixture(scope="module")
def trained(evaluator):
    def run(synthetic, config=ELSE, count=2, **changes):
        augmentation = AugmentationConfig(strategy="crop_scale_rotate")
        there = evaluator.changed(config=config, augmentation=augmentation, **changes)
        networks = training.train_networks(there.job(synthetic), there.seeds(count))
        return torch.stack([flatten_parameters(one) for one in networks])

    return run


@pytest.fixture(scope="module")
def replayed(small_model):
    """The parameters after plain gradient steps, written out."""

    def run(synthetic, generator):
        network = build_model(small_model, (1, 8, 8), 10, generator)
        for chosen, size in zip(synthetic.schedule.order, synthetic.schedule.step_sizes, strict=True):
            logits = network(synthetic.images[chosen])
            loss = torch.nn.functional.cross_entropy(logits, synthetic.labels[chosen])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter -= size * gradient
        return flatten_parameters(network)

    return run


def test_number_order_and_sizes_of_the_steps_are_replayed_and_nothing_else(scheduled, trained, replayed):
    networks = trained(scheduled)
    for network, seed in zip(networks, evaluation_seeds(Generators(0), 2), strict=True):
        torch.testing.assert_close(network, replayed(scheduled, seed["init"]), atol=1e-5, rtol=1e-3)


def test_another_order_other_sizes_and_fewer_steps_give_other_networks(scheduled, trained):
    ours = trained(scheduled)
    for changes in (
        {"order": ORDER.flip(0)},
        {"step_sizes": SIZES.flip(0)},
        {"order": ORDER[:3], "step_sizes": SIZES[:3]},
    ):
        assert not torch.allclose(trained(changed(scheduled, **changes)), ours, atol=1e-3), changes


def test_a_recipe_may_set_the_steps_aside(scheduled, two_a_class, trained):
    plain = trained(two_a_class)
    assert torch.equal(trained(scheduled, ELSE.model_copy(update={"use_schedule": False})), plain)
    assert not torch.allclose(trained(scheduled), plain, atol=1e-3)


def test_a_schedule_of_one_network_has_one_outcome(scheduled, trained, replayed, evaluator):
    fixed = changed(scheduled, network_seed=11)
    expected = replayed(fixed, torch.Generator().manual_seed(11))
    for network in trained(fixed):
        torch.testing.assert_close(network, expected, atol=1e-5, rtol=1e-3)
    scores = [evaluator.changed(config=ELSE, generators=Generators(seed)).score(fixed) for seed in (0, 1)]
    assert scores[0].values == scores[1].values
    assert scores[0].n == 1


def test_a_replay_is_float32_whatever_the_machine_prefers(scheduled, trained):
    low = Compute(torch.device("cpu"), torch.bfloat16, "off")
    assert torch.equal(trained(scheduled, compute=low), trained(scheduled))
