"""A toy task on which every method runs in a moment; also read by the second process of the contract suite."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from study.core.config import build
from study.core.device import Compute
from study.core.records import ImageDataset, Progress, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.methods.base import Method, Task, load_methods
from study.models.pool import ModelConfig

TINY_EXPERTS: dict[str, Any] = {
    "num_iterations": 4,
    "num_student_steps": 3,
    "num_expert_epochs": 1,
    "max_start_epoch": 2,
    "experts": {"num_experts": 2, "num_epochs": 3, "batch_size": 8, "lr": 0.05},
}
TINY: dict[str, dict[str, Any]] = {
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
    "random": {},
    "herding": {"num_epochs": 2, "batch_size": 8},
    "k-center": {"num_epochs": 2, "batch_size": 8},
    "k-means": {"num_epochs": 2, "batch_size": 8},
    "forgetting": {"num_epochs": 2, "batch_size": 4},
}
"""Settings that make a method quick on the toy task; a method without an entry gets ``TINY_DEFAULT``."""
TINY_DEFAULT: dict[str, Any] = {"num_iterations": 4}


def build_dataset(
    counts: tuple[int, ...] = (14, 9, 11), shape: tuple[int, int, int] = (1, 8, 8)
) -> ImageDataset:
    """Every class is a bar at its own place under noise; classes are shuffled together."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = 0.4 * torch.randn(len(labels), *shape, generator=generator)
    for label in range(len(counts)):
        images[labels == label, :, :, 2 * label : 2 * label + 2] += 1.5
    return ImageDataset(images, labels, tuple(f"bar {label}" for label in range(len(counts))))


def build_task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "train": build_dataset(),
        "ipc": 2,
        "model": ModelConfig(depth=2, width=8),
        "augmentation": AugmentationConfig(strategy="color_crop_cutout_scale_rotate"),
        "compute": Compute(torch.device("cpu")),
    }
    return Task(**values | changes)


def build_method(name: str, **settings: Any) -> Method:
    method = load_methods()[name]
    return method(build(method.Config, TINY.get(name, TINY_DEFAULT) | settings))


def distill(
    name: str, *, seed: int = 0, task: Task | None = None, **settings: Any
) -> tuple[list[Progress], SyntheticSet]:
    """All progress of a run, and the set after its last iteration."""
    everything = []
    for progress in build_method(name, **settings).distill(task or build_task(), Generators(seed)):
        everything.append(progress)
    return everything, everything[-1].snapshot()


def digest_of(synthetic: SyntheticSet) -> str:
    parts = [synthetic.images, synthetic.labels, synthetic.logits]
    if synthetic.schedule is not None:
        parts += [synthetic.schedule.order, synthetic.schedule.step_sizes]
    content = [part.contiguous().numpy().tobytes() for part in parts if part is not None]
    return hashlib.sha256(b"".join([*content, repr(synthetic.step_size).encode()])).hexdigest()


def print_digests(names: list[str], num_threads: int) -> None:
    """What the second process runs."""
    torch.set_num_threads(num_threads)
    sys.stdout.write(json.dumps({name: digest_of(distill(name)[1]) for name in names}))


@pytest.fixture
def toy_task() -> Callable[..., Task]:
    """``toy_task(ipc=1)`` builds the toy task with changed fields."""
    return build_task


@pytest.fixture
def toy_dataset() -> Callable[..., ImageDataset]:
    """``toy_dataset(counts, shape)`` builds images whose classes are bars at different places."""
    return build_dataset


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
    return digest_of
