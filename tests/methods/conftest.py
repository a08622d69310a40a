"""The toy task, and settings with which every method takes a moment on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from study.core.config import build
from study.core.digests import set_digest
from study.core.records import ImageDataset, Progress, SyntheticSet
from study.methods.base import METHODS, Method, Task
from study.testing import tasks
from study.testing.methods import distill_toy

TINY_EXPERTS: dict[str, Any] = {
    "num_iterations": 4,
    "num_student_steps": 3,
    "num_expert_epochs": 1,
    "max_start_epoch": 2,
    "step_size": 0.01,
    "experts": {"num_experts": 2, "num_epochs": 3, "batch_size": 8, "lr": 0.05},
}
TINY_TRAINED: dict[str, Any] = {
    "num_iterations": 4,
    "batch_real": 8,
    "experts": {"num_experts": 2, "num_epochs": 3, "batch_size": 8, "lr": 0.05},
}
TINY: dict[str, dict[str, Any]] = {
    # Experts of its own: those of another method would be there before it estimates what is missing.
    "ncfm": {**TINY_TRAINED, "image_lr": 0.1, "experts": {**TINY_TRAINED["experts"], "lr": 0.04}},
    "dance": TINY_TRAINED,
    "tgdd": TINY_TRAINED,
    "idm": {**TINY_TRAINED, "image_lr": 1.0},
    "mtt": TINY_EXPERTS,
    "datm": TINY_EXPERTS,
    "pad": {**TINY_EXPERTS, "difficulty": {"num_networks": 2, "num_epochs": 2}},
    "dd": {
        "num_iterations": 4,
        "num_networks": 2,
        "step_size": 0.1,
        "image_lr": 0.05,
        "step_size_lr": 0.05,
        "lr_decay": 1.0,
    },
    "frepo": {"num_iterations": 4, "batch_real": 24, "num_networks": 2, "image_lr": 0.05},
    "random": {},
    # As of ncfm: an expert that no other method asks for.
    "random-soft": {"teacher_epoch": 2, "experts": {"num_epochs": 3, "batch_size": 8, "lr": 0.03}},
    "herding": {"num_epochs": 2, "batch_size": 8},
    "k-center": {"num_epochs": 2, "batch_size": 8},
    "k-means": {"num_epochs": 2, "batch_size": 8},
    "forgetting": {"num_epochs": 2, "batch_size": 4},
}
"""Settings that make a method quick on the toy task; a method without an entry gets ``TINY_DEFAULT``."""
TINY_DEFAULT: dict[str, Any] = {"num_iterations": 4}


def build_method(name: str, **settings: Any) -> Method:
    method = METHODS[name]
    return method(build(method.Config, TINY.get(name, TINY_DEFAULT) | settings))


def distill(
    name: str, *, seed: int = 0, task: Task | None = None, **settings: Any
) -> tuple[list[Progress], SyntheticSet]:
    """All progress of a run, and the set after its last iteration."""
    return distill_toy(build_method(name, **settings), seed=seed, task=task)


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], dict[str, Any]]:
    """``tiny(name)`` gives settings that make a method quick on the toy task."""
    return lambda name: TINY.get(name, TINY_DEFAULT)


@pytest.fixture
def toy_task() -> Callable[..., Task]:
    """``toy_task(ipc=1)`` builds the toy task with changed fields."""
    return tasks.toy_task


@pytest.fixture
def toy_dataset() -> Callable[..., ImageDataset]:
    """``toy_dataset(counts, shape)`` builds images whose classes are bars at different places."""
    return tasks.toy_images


@pytest.fixture
def toy_method() -> Callable[..., Method]:
    """``toy_method(name, **settings)`` builds a method with its tiny settings."""
    return build_method


@pytest.fixture
def toy_distill() -> Callable[..., tuple[list[Progress], SyntheticSet]]:
    """``toy_distill(name, seed=0, task=None, **settings)`` gives all progress and the final set."""
    return distill


@pytest.fixture
def digest() -> Callable[[SyntheticSet], str]:
    """``digest(synthetic)`` is equal for equal bits."""
    return set_digest
