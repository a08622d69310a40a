"""Digits, once for all evaluation tests, and the machine they run on."""

import pytest
import torch

from study.core.device import Compute
from study.data.splits import DataConfig, load_splits
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
