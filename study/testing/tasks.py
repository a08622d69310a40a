"""What the contract suites share: a cache of their own, and a toy task for methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from study.core.device import Compute
from study.core.records import ImageDataset
from study.data.augment import AugmentationConfig
from study.methods.base import Task
from study.models.pool import ModelConfig


class OwnCache:
    """A suite with a cache folder of its own, so that it neither reads nor fills the user's."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def cache_of_the_suite(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """Point ``STUDY_CACHE`` at it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
            yield


def toy_images(
    counts: tuple[int, ...] = (14, 9, 11), shape: tuple[int, int, int] = (1, 8, 8)
) -> ImageDataset:
    """Images whose classes are bars, two columns each, at different places under noise, shuffled."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = 0.4 * torch.randn(len(labels), *shape, generator=generator)
    for label in range(len(counts)):
        images[labels == label, :, :, 2 * label : 2 * label + 2] += 1.5
    return ImageDataset(images, labels, tuple(f"bar {label}" for label in range(len(counts))))


def toy_task(**changes: Any) -> Task:
    """Two images a class of :func:`toy_images`, a small ConvNet, on the CPU; ``changes`` replace fields."""
    values: dict[str, Any] = {
        "train": toy_images(),
        "ipc": 2,
        "model": ModelConfig(depth=2, width=8),
        "augmentation": AugmentationConfig(strategy="color_crop_cutout_scale_rotate"),
        "compute": Compute(torch.device("cpu")),
    }
    return Task(**values | changes)
