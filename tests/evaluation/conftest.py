"""Digits, once for all evaluation tests, and the machine they run on."""

import pytest
import torch

from study.core.device import Compute
from study.core.seeding import Generators
from study.data.splits import DataConfig, load_splits
from study.evaluation.evaluator import Evaluator
from study.evaluation.recipes import EvaluationConfig
from study.models.pool import ModelConfig


@pytest.fixture(scope="session")
def digits():
    return load_splits("digits", DataConfig())


@pytest.fixture(scope="session")
def small_model():
    return ModelConfig(width=32)


@pytest.fixture(scope="session")
def compute():
    return Compute(torch.device("cpu"), torch.float32, "off")


@pytest.fixture(scope="session")
def evaluator(digits, small_model, compute):
    """An evaluator on validation: 20 steps, two seeds, root 0."""
    recipe = EvaluationConfig(num_steps=20, num_seeds=2)
    return Evaluator(
        digits.train, digits.validation, small_model, recipe, digits.augmentation, compute, Generators(0)
    )
