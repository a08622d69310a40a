"""What a search raises, taken from the scores of a set."""

from __future__ import annotations

from collections.abc import Mapping

from study.core.records import Score
from study.evaluation.architectures import CrossScore
from study.search.config import SearchConfig

__all__ = ["objective_values"]


def objective_values(config: SearchConfig, score: Score, cross: CrossScore | None) -> dict[str, float]:
    """Values of the search's objectives by name, in its order.

    Args:
        config: names the objectives.
        score: of the set on the architecture it was distilled with.
        cross: on the other ones; None only where no objective needs it.
    """
    measured: Mapping[str, float | None] = {
        "accuracy": score.mean,
        "cross-arch": None if cross is None else cross.mean,
    }
    values: dict[str, float] = {}
    for name in config.objectives:
        value = measured[name]
        assert value is not None
        values[name] = value
    return values
