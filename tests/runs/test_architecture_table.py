"""Architectures trained side by side score what they score alone, and an error stops what has not begun."""

import threading

import pytest
import torch

from study.core.device import Compute
from study.core.records import SyntheticSet
from study.core.seeding import Generators
from study.data.splits import DataConfig, load_splits
from study.evaluation.architectures import Bench
from study.evaluation.recipes import EvaluationConfig
from study.models.pool import ModelConfig
from study.runs import architecture_table
from study.runs.architecture_table import score_pool
from study.runs.context.callbacks import Callback


@pytest.fixture(scope="module")
def digits():
    return load_splits("digits", DataConfig())


@pytest.fixture
def bench(digits):
    config = EvaluationConfig(num_steps=5)
    cpu = Compute(torch.device("cpu"))
    return Bench(digits.train, digits.validation, config, digits.augmentation, cpu, Generators(0))


@pytest.fixture
def synthetic(digits):
    first = [int((digits.train.labels == label).nonzero()[0, 0]) for label in range(10)]
    return SyntheticSet(digits.train.images[first], torch.arange(10), digits.train.class_names)


def test_side_by_side_or_alone_the_scores_are_the_same(bench, synthetic, digits, monkeypatch):
    own = ModelConfig(width=4)
    pool = {"convnet": own, "mlp": ModelConfig(name="mlp", width=8), "lenet": ModelConfig(name="lenet")}
    tables = []
    for num_workers in (1, 3):
        monkeypatch.setattr(architecture_table, "_num_workers", lambda bench, num=num_workers: num)
        scored = score_pool(synthetic, digits.validation, 1, own, pool, bench, 2, Callback())
        tables.append(scored.table())
    assert tables[0] == tables[1]
    assert [row["model"] for row in tables[0]] == list(pool)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_keep_the_order_of_the_names(num_workers):
    names = [f"{number}" for number in range(9)]
    assert architecture_table._each(int, names, num_workers) == list(range(9))


def test_an_error_stops_what_has_not_begun():
    begun, may_end = [], threading.Event()

    def work(name):
        begun.append(name)
        if name == "bad":
            raise ValueError(name)
        may_end.wait(0.2)

    with pytest.raises(ValueError, match="bad"):
        architecture_table._each(work, ["bad", *map(str, range(20))], 2)
    assert len(begun) < 10


def test_cores_that_the_recipe_leaves_idle_are_used(bench, monkeypatch):
    monkeypatch.setattr(architecture_table, "num_cores", lambda: 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert architecture_table._num_workers(bench) == 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert architecture_table._num_workers(bench) == 1
