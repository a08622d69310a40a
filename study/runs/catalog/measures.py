"""The one place that knows under which names a run keeps its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.tracking.base import RunInfo


@dataclass(frozen=True)
class Measured:
    """A score as a run keeps it; fractions, the deviation with ddof 1.

    Attributes:
        mean: None where the run lacks it.
        std: None where it is not known.
        n: networks; None where it is not known.
    """

    mean: float | None = None
    std: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Measure:
    """Names of the metrics of one score; of several for the deviation or n the first that is there holds."""

    mean: str
    std: tuple[str, ...]
    n: tuple[str, ...]

    def of(self, metrics: Mapping[str, float]) -> Measured:
        """The score among the metrics of a run."""
        n = next((metrics[name] for name in self.n if name in metrics), None)
        std = next((metrics[name] for name in self.std if name in metrics), None)
        # A single network has no deviation, although 0 is stored for it; a trial stopped at a rung does not say its n.
        known = None if n == 1 or (n is None and std == 0) else std
        return Measured(metrics.get(self.mean), known, None if n is None else int(n))


MEASURES: Mapping[str, Measure] = {
    "validation": Measure("val/accuracy", ("val/accuracy_std",), ("val/num_seeds",)),
    "test": Measure("test/accuracy", ("test/accuracy_std",), ("test/num_seeds",)),
    "random_validation": Measure(
        "random/val_accuracy", ("random/val_accuracy_std",), ("random/val_num_seeds", "random/num_seeds")
    ),
    "random_test": Measure(
        "random/test_accuracy", ("random/test_accuracy_std",), ("random/test_num_seeds", "random/num_seeds")
    ),
    "cross": Measure("cross/mean", ("cross/mean_std", "cross/std"), ("cross/num_seeds", "cross/n")),
    "random_cross": Measure(
        "random/cross_mean", ("random/cross_mean_std", "random/cross_std"),
        ("random/cross_num_seeds", "random/cross_n"),
    ),
}  # fmt: skip
SUMMARIES = ("mean", "worst", "std", "n", "num_seeds")
"""Of the scores on other architectures, what is the name of none."""
COUNTS = ("_std", "_n", "_num_seeds")


def measured(key: str, *runs: RunInfo) -> Measured:
    """A score of the first run that has it, whole: mean, deviation and n never come from two runs."""
    found = (MEASURES[key].of(run.metrics) for run in runs)
    return next((one for one in found if one.mean is not None), Measured())


def architectures(prefix: str, *runs: RunInfo) -> dict[str, Measured]:
    """Scores by the name of another architecture, of the first run that has any.

    Args:
        prefix: ``cross/`` for the set, ``random/cross_`` for random real images.
        runs: where to look.
    """
    for run in runs:
        names = [name.removeprefix(prefix) for name in run.metrics if name.startswith(prefix)]
        models = [name for name in names if name not in SUMMARIES and not name.endswith(COUNTS)]
        if models:
            counts = (f"{prefix}num_seeds", f"{prefix}n")
            return {
                name: Measure(
                    prefix + name,
                    (f"{prefix}{name}_std",),
                    (f"{prefix}{name}_num_seeds", f"{prefix}{name}_n", *counts),
                ).of(run.metrics)
                for name in models
            }
    return {}
