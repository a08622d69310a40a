"""How far the pixels of a synthetic set lie outside the range that real ones have."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from study.core.config import Frozen
from study.core.words import percent
from study.data.preprocess import Preprocessing

FAR = 3.0
"""How far beyond [0, 1], in its own width, a pixel has to lie to count as far: sets that teach all networks well reach
from -1.3 to 2.9, those that ran away from -30 to 56."""


class PixelRecord(Frozen):
    """Pixels with the normalisation undone, where real ones lie in [0, 1]; pictures show them clipped to that."""

    low: float
    """The lowest."""
    high: float
    """The highest."""
    clipped: float = Field(ge=0, le=1)
    """Share of the pixels outside [0, 1], by more than half a grey level of 256."""
    far: float = Field(ge=0, le=1)
    """Share of the pixels outside [-3, 4]."""

    @property
    def note(self) -> str:
        """What pictures say below; empty where nothing is clipped."""
        return f"{percent(self.clipped)} of pixels clipped" if self.clipped else ""

    @classmethod
    def of(cls, images: Tensor, preprocessing: Preprocessing) -> PixelRecord:
        """The record of normalised images [n, C, H, W]."""
        pixels = preprocessing.invert(images.detach().cpu().float())

        def outside(margin: float) -> float:
            return float(((pixels < -margin) | (pixels > 1 + margin)).float().mean())

        return cls(
            low=float(pixels.min()), high=float(pixels.max()), clipped=outside(0.5 / 255), far=outside(FAR)
        )
