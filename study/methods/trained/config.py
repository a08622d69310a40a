"""Settings of the family, of which each named method fixes its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from study.methods.experts.config import ExpertConfig
from study.methods.matching.means import MeanMatchingConfig
from study.methods.trained.distances import Distance

DrawnFrom = Literal["random", "snapshot", "interpolated"]
Judge = Literal["matched", "later", "final"]


class PretrainedConfig(ExpertConfig):
    """Networks as NCFM, DANCE and TGDD train them."""

    num_experts: int = Field(20, ge=1)
    num_epochs: int = Field(60, ge=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    batch_size: int = Field(128, ge=1)


class TrainedMatchingConfig(MeanMatchingConfig):
    """Settings of matching features on trained networks.

    With ``random`` networks, the distance of the ``mean`` and no cross-entropy it is DM, to the bit.
    """

    network: DrawnFrom = "snapshot"
    """Whose features are matched: a fresh ``random`` network; a random ``snapshot`` of an expert's training; or one
    ``interpolated`` at a random place between an expert's start and its end."""
    distance: Distance = "mean"
    """Of the ``mean`` embedding of a class, squared, or of its ``characteristic`` function at random frequencies."""
    num_frequencies: int = Field(1024, ge=1)
    """Of the characteristic function, drawn anew with every network and shared by all classes."""
    amplitude_weight: float = Field(0.5, ge=0, le=1)
    """What amplitudes count there (Greek alpha), phases counting the rest; at 0.5 it is the plain distance."""
    loss_scale: float = Field(1.0, gt=0)
    """Factor on the distance; NCFM publishes 300."""
    ce_weight: float = Field(0.0, ge=0)
    """Weight of the cross-entropy that the synthetic images have on a trained network, summed over classes."""
    ce_network: Judge = "final"
    """Which one: the ``matched`` network, one at most ``ce_interval`` - 1 epochs ``later``, or the ``final`` one."""
    ce_interval: int = Field(7, ge=1)
    """Epochs within which the later network lies, that of the matched one included."""
    ce_by_accuracy: bool = False
    """Multiply the weight by the percentage of the real batch, mean of classes, that the matched network classifies."""
    experts: PretrainedConfig = Field(default_factory=PretrainedConfig)
    """How the networks are trained."""

    @model_validator(mode="after")
    def _judge_is_there(self) -> TrainedMatchingConfig:
        if self.ce_network == "later" and self.network != "snapshot" and self.ce_weight:
            raise ValueError(
                f"ce_network = 'later' needs network = 'snapshot', not {self.network!r}: only a snapshot has later ones"
            )
        return self

    @property
    def uses_experts(self) -> bool:
        """Whether anything is asked of trained networks."""
        return self.network != "random" or bool(self.ce_weight and self.ce_network == "final")

    @property
    def last_epoch(self) -> int:
        """Up to which snapshots are kept besides the final one."""
        return self.experts.num_epochs if self.network == "snapshot" else 0
