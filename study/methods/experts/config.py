"""How experts are trained, and on which images in which epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from pydantic import Field
from torch import Tensor

from study.core.config import Frozen
from study.models.work import Load, Work


class ExpertConfig(Frozen):
    """How expert networks are trained on real images; published values are the defaults."""

    num_experts: int = Field(100, ge=1)
    """Networks, each from its own random start; more can be added to those already trained."""
    num_epochs: int = Field(50, ge=1)
    """Epochs each; DATM and PAD publish 100. MTT's end sooner where no student is to get as far."""
    lr: float = Field(0.01, gt=0)
    """Learning rate, constant."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Of SGD."""
    weight_decay: float = Field(0.0, ge=0)
    """Of SGD."""
    batch_size: int = Field(256, ge=1)
    """Real images a step; the last batch of an epoch may be smaller."""
    epoch_fraction: float = Field(1.0, gt=0, le=1)
    """Share of an epoch's images that it uses, drawn anew each time; below 1 is cheaper, and not published."""
    balance: bool = False
    """Where the largest class has more than 1.5 times the images of the smallest, let an epoch see as many of each,
    those of small classes several times. Not published; experts of unbalanced data lean to the large classes."""
    optimizer: Literal["sgd", "gsam"] = "sgd"
    """``sgd`` (MTT), or ``gsam``, which looks for flat minima at twice the cost (FTD, DATM, PAD)."""
    gsam_rho: float = Field(0.01, gt=0)
    """Radius of the ascent step (Greek rho)."""
    gsam_alpha: float = Field(0.3, ge=0)
    """Weight of the gradient's orthogonal part (Greek alpha)."""
    gsam_adaptive: bool = True
    """Scale the ascent step of each parameter by its own size."""
    augment: bool = True
    """Train under the task's augmentation, one operation a batch and one draw an image."""
    precision: Literal["auto", "float32"] = "auto"
    """Of forward passes; ``auto`` follows the run. Parameters and updates are float32 either way. On digits
    bfloat16 took the same way: cosine of the displacement at least 0.998, accuracy within 0.4 points."""

    def load(self, work: Work, num_images: int) -> Load:
        """Counted work of all these experts on that many real images, seen whole in every epoch."""
        seen = max(1, round(self.epoch_fraction * num_images))
        steps = math.ceil(seen / self.batch_size)
        passes = 2 if self.optimizer == "gsam" else 1
        epoch = work.training(seen / steps, steps)
        return epoch * (passes * self.num_epochs * self.num_experts)

    def key(self) -> dict[str, Any]:
        """Plain values that determine one trajectory: without the count, and without what is not in use."""
        unused = {"num_experts", "precision"}
        if not self.balance:
            unused.add("balance")
        if self.optimizer == "sgd":
            unused |= {"gsam_rho", "gsam_alpha", "gsam_adaptive"}
        return self.model_dump(mode="json", exclude=unused)


class EpochOrder(Protocol):
    """Which training images each epoch of an expert may see."""

    def indices(self, epoch: int) -> Tensor | None:
        """Positions in the training set [k] int64 in any order, or None for all, in an epoch from 0."""

    def key(self) -> Mapping[str, Any]:
        """Plain values that determine :meth:`indices`; they become part of the cache key."""


class WholeSet:
    """Every epoch sees the whole training set, as MTT and DATM train their experts."""

    def indices(self, epoch: int) -> None:
        """All of them."""

    def key(self) -> Mapping[str, Any]:
        """One order, one key."""
        return {"order": "all"}
