"""NCFM, DANCE, TGDD and IDM: settings of the family, each with its own name and published values."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from study.core.spaces import Range, Space
from study.methods.base import MethodConfig, register
from study.methods.trained.config import DrawnFrom, Judge, PretrainedConfig, TrainedMatchingConfig
from study.methods.trained.distances import Distance
from study.methods.trained.matching import TrainedMatching


class NCFMConfig(TrainedMatchingConfig):
    """Settings of NCFM as published, but for the rate of an update of all classes at once."""

    num_iterations: int = Field(20_000, ge=0)
    image_lr: float = Field(0.02, gt=0)
    """Of AdamW, in normalised pixels. Published is 0.001 in raw ones for 20 updates an iteration."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = Field(5e-4, ge=0)
    pixel_range: float | None = Field(0.0, ge=0)
    batch_real: int = Field(1024, ge=1)
    network: DrawnFrom = "interpolated"
    distance: Distance = "characteristic"
    loss_scale: float = Field(300.0, gt=0)
    ce_weight: float = Field(1.0, ge=0)


@register
class NCFM(TrainedMatching[NCFMConfig]):
    """Neural characteristic function matching.

    The characteristic functions of each class's features, at random frequencies, approach each other on a network
    between an expert's start and its end; the expert's end judges to which class the images belong.

    Source: Wang et al. 2025. The released code leaves the sampling network off, and where it is on never trains it,
        so frequencies are drawn from a normal distribution here.
    """

    name: ClassVar[str] = "ncfm"
    Config: ClassVar[type[MethodConfig]] = NCFMConfig
    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=2e-3, high=0.2, log=True),
        "distill.ce_weight": Range(low=0.1, high=10.0, log=True),
    }


class DANCEConfig(TrainedMatchingConfig):
    """Settings of DANCE as published."""

    num_iterations: int = Field(10_000, ge=0)
    pixel_range: float | None = Field(0.0, ge=0)
    batch_real: int = Field(128, ge=1)
    network: DrawnFrom = "interpolated"
    ce_weight: float = Field(1.0, ge=0)


@register
class DANCE(TrainedMatching[DANCEConfig]):
    """Dual-view distribution alignment: class means on networks between start and end, the end as a judge of class.

    Source: Zhang et al. 2024.
    """

    name: ClassVar[str] = "dance"
    Config: ClassVar[type[MethodConfig]] = DANCEConfig


class TGDDConfig(TrainedMatchingConfig):
    """Settings of TGDD as published."""

    num_iterations: int = Field(10_000, ge=0)
    pixel_range: float | None = Field(0.0, ge=0)
    batch_real: int = Field(128, ge=1)
    network: DrawnFrom = "snapshot"
    ce_weight: float = Field(1.0, ge=0)
    ce_network: Judge = "later"


@register
class TGDD(TrainedMatching[TGDDConfig]):
    """Trajectory-guided distillation: class means on a snapshot of training, a slightly later one as a judge of class.

    Source: the released code of TGDD (AAAI 2026).
    """

    name: ClassVar[str] = "tgdd"
    Config: ClassVar[type[MethodConfig]] = TGDDConfig


class YoungConfig(PretrainedConfig):
    """Networks as young as those of IDM's queue get, which are trained without augmentation."""

    num_epochs: int = Field(6, ge=1)
    batch_size: int = Field(256, ge=1)
    augment: bool = False


class IDMConfig(TrainedMatchingConfig):
    """Settings of IDM as published, on snapshots of experts in place of a queue."""

    num_iterations: int = Field(20_000, ge=0)
    image_lr: float = Field(0.2, gt=0)
    network: DrawnFrom = "snapshot"
    ce_weight: float = Field(0.5, ge=0)
    ce_network: Judge = "matched"
    ce_by_accuracy: bool = True
    experts: YoungConfig = Field(default_factory=YoungConfig)


@register
class IDM(TrainedMatching[IDMConfig]):
    """Improved distribution matching: class means on young networks, and their judgement as far as they are right.

    Source: Zhao et al. 2023, on snapshots of a few experts where the released code trains a queue of 100 networks
        for three quarters of its time.
    """

    name: ClassVar[str] = "idm"
    Config: ClassVar[type[MethodConfig]] = IDMConfig
    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=0.02, high=10.0, log=True),
        # A percentage multiplies it.
        "distill.ce_weight": Range(low=0.005, high=0.5, log=True),
    }
