"""Orders of classes, parts of sets, and accuracy stage by stage."""

import pytest
import torch

from study.core.errors import ConfigError
from study.core.records import SyntheticSet
from study.core.seeding import Generators
from study.evaluation.baselines import random_real_sets
from study.protocols.continual import class_orders, learn_in_stages, only_classes


@pytest.mark.parametrize(
    ("num_classes", "num_stages", "lengths"), [(10, 5, [2] * 5), (7, 3, [3, 2, 2]), (2, 1, [2])]
)
def test_every_class_arrives_once_and_stages_are_even(num_classes, num_stages, lengths):
    for order in class_orders(num_classes, num_stages, 3, Generators(0)):
        assert [len(stage) for stage in order.stages] == lengths
        assert order.seen(num_stages - 1) == list(range(num_classes))
        assert order.seen(0) == sorted(order.stages[0])


def test_orders_differ_and_the_first_stay_when_more_are_drawn():
    two, three = (class_orders(10, 5, count, Generators(1)) for count in (2, 3))
    assert two == three[:2]
    assert two[0] != two[1]


@pytest.mark.parametrize(("num_stages", "num_orders"), [(0, 1), (10, 1), (5, 0)])
def test_impossible_orders_are_refused(num_stages, num_orders):
    with pytest.raises(ConfigError, match="must be"):
        class_orders(10, num_stages, num_orders, Generators(0))


def test_a_part_of_a_set_keeps_its_images_and_soft_labels():
    labels = torch.arange(4).repeat_interleave(2)
    logits = torch.arange(32.0).view(8, 4)
    images = torch.arange(8.0)[:, None, None, None].expand(8, 1, 4, 4).clone()
    part = only_classes(SyntheticSet(images, labels, ("a", "b", "c", "d"), logits, 0.1), [1, 3])
    assert part.class_names == ("b", "d")
    assert part.labels.tolist() == [0, 0, 1, 1]
    assert part.images[:, 0, 0, 0].tolist() == [2, 3, 6, 7]
    assert part.logits is not None
    assert torch.equal(part.logits, logits[[2, 3, 6, 7]][:, [1, 3]])
    assert part.step_size == 0.1


def test_accuracy_falls_as_classes_arrive_and_a_larger_memory_keeps_more(digits, evaluator):
    orders = class_orders(10, 3, 2, Generators(0))
    small, large = (random_real_sets(digits.train, ipc, 2, Generators(7)) for ipc in (1, 20))
    learner = evaluator.with_recipe(num_steps=30).changed(generators=Generators(3))
    few, many = (learn_in_stages(some, orders, learner) for some in (small, large))
    assert [score.n for score in few] == [2] * 3
    assert few[0].mean > few[-1].mean
    assert many[-1].mean > few[-1].mean
    again = learn_in_stages(small, orders, learner)
    assert [score.values for score in again] == [score.values for score in few]


def test_memories_must_fit_the_orders(digits, evaluator):
    orders = class_orders(10, 5, 3, Generators(0))
    memories = random_real_sets(digits.train, 1, 2, Generators(0))
    with pytest.raises(ConfigError, match="2 memories for 3"):
        learn_in_stages(memories, orders, evaluator)
