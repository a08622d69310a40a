"""Whether a set may be ``best``: it has to teach other networks too, with pixels of a sane range.

This is the one place of the rule. A set that is not fit is registered all the same, with the reasons in terminal,
card and tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.core.words import percent
from study.search.config import Serves
from study.sets.pixels import PixelRecord

MAX_FAR = 0.01
"""Share of the pixels that may lie far outside the real range. That pictures clip many is usual: of sets of digits that
teach every network well four pixels in five are clipped, so that is stated and no warning."""
MAX_CHANGE = 5.0
"""Distance from the start, in norms of the start, that is worth a warning."""


@dataclass(frozen=True)
class Fitness:
    """What speaks against a set.

    Attributes:
        faults: why it cannot be ``best``, a clause each.
        warnings: what a user should know besides.

    Example:
        >>> Fitness().fit
        True
    """

    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def fit(self) -> bool:
        """Whether it may be ``best``."""
        return not self.faults

    @property
    def words(self) -> str:
        """The faults as one clause; empty where there is none."""
        return "; ".join(self.faults)


def judge(
    cross: Mapping[str, float],
    random: Mapping[str, float],
    pixels: PixelRecord,
    relative_change: float,
    serves: Serves = "all",
) -> Fitness:
    """What speaks against a set.

    Args:
        cross: mean score by architecture that the set was not distilled with, ``mean`` over all of them; empty
            where nobody measured it, which is then no fault.
        random: the same of random real images.
        pixels: where its pixels lie.
        relative_change: distance from the start in norms of the start.
        serves: ``all`` where the set has to beat random images on other architectures, ``own`` where its own will do.
    """
    faults: list[str] = []
    warnings: list[str] = []
    if "mean" in cross and "mean" in random and not cross["mean"] > random["mean"]:
        text = (
            f"on other architectures its mean of {percent(cross['mean'])} does not beat random real images, "
            f"{percent(random['mean'])}"
        )
        (faults if serves == "all" else warnings).append(text)
    weak = [
        f"{name} ({percent(cross[name])}, random {percent(random[name])})"
        for name in cross
        if name not in ("mean", "worst") and name in random and not cross[name] > random[name]
    ]
    if weak:
        warnings.append(f"no better than random real images for {', '.join(weak)}")
    if pixels.far > MAX_FAR:
        faults.append(
            f"{percent(pixels.far)} of its pixels lie outside -3 to 4, where real ones lie in 0 to 1 "
            f"({pixels.low:.3g} to {pixels.high:.3g})"
        )
    if relative_change > MAX_CHANGE:
        warnings.append(f"its images moved by {relative_change:.1f} times the norm of their start")
    return Fitness(tuple(faults), tuple(warnings))
