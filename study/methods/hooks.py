"""What a method may tell beside its images: what it prepares, what that costs, and numbers to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Preparation:
    """What was made ready before distilling: metrics to log, tags to set, plain facts for whoever asks."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """What a preparation would cost; empty where there is none.

    Attributes:
        summary: one phrase for people, such as ``8 experts of 20 epochs, 3 of them to train``.
        seconds: wall time on this machine for what is missing.
        num_bytes: on disk, what is there already included.
        facts: the plain values behind it.
    """

    summary: str = ""
    seconds: float = 0.0
    num_bytes: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BarFigure:
    """One bar a name, in a file of that ``name`` without its ending; ``reference`` is the height of a dashed line."""

    name: str
    values: Mapping[str, float]
    xlabel: str
    ylabel: str
    reference: float | None = None


@dataclass(frozen=True, eq=False)
class ScoreFigure:
    """A number for each training image: drawn as a histogram by class, and as the images at both ends.

    Attributes:
        name: of the folder.
        scores: [n] float32, in the order of the training images.
        label: what the scores are.
        low: what images with low scores are, such as ``easiest``; ``high`` those with high ones.
    """

    name: str
    scores: Tensor
    label: str
    low: str
    high: str


Figure = BarFigure | ScoreFigure
