"""Forgetting: the images that training forgets most often."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from study.core.seeding import Generators
from study.methods.base import MethodConfig, Task, register
from study.methods.coresets.base import Coreset, CoresetConfig, by_class, check_count
from study.methods.coresets.features import train_plainly


class ForgettingConfig(CoresetConfig):
    """Settings of the selection by forgetting."""

    num_epochs: int = Field(20, ge=2)
    """Passes over the training images during which forgetting is counted."""
    batch_size: int = Field(64, ge=1)
    """Images a step of that training."""


@register
class Forgetting(Coreset[ForgettingConfig]):
    """The images of each class that a network forgets most often while it is trained on all of them."""

    name: ClassVar[str] = "forgetting"
    Config: ClassVar[type[MethodConfig]] = ForgettingConfig
    smoke: ClassVar[dict[str, int]] = {"num_epochs": 2}

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        config = self.config
        training = train_plainly(task, generators, num_epochs=config.num_epochs, batch_size=config.batch_size)
        correct = torch.stack([of_epoch for _, of_epoch in training])
        return by_class(task, lambda positions, label: choose_by_forgetting(correct[:, positions], task.ipc))


def count_forgetting(correct: Tensor) -> Tensor:
    """How often each image [n] went from right to wrong between two epochs of training.

    ``correct`` [epochs, n] bool says whether it was classified correctly when the epoch showed it. One that
    was never right counts as forgotten ``epochs`` times, more often than any other can be.

    Source: Toneva et al. 2019.
    """
    events = (correct[:-1] & ~correct[1:]).sum(0)
    return events.masked_fill(~correct.any(0), len(correct))


def choose_by_forgetting(correct: Tensor, count: int) -> Tensor:
    """Positions [count] of the images forgotten most often, of records [epochs, n] bool, most forgotten first.

    Easy data is hardly ever forgotten, so a tie goes to the image that was wrong in more epochs.
    """
    check_count(correct.shape[1], count)
    rank = count_forgetting(correct) * (len(correct) + 1) + (~correct).sum(0)
    return rank.argsort(descending=True, stable=True)[:count]
