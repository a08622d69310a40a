"""How much counted work a budget may spend, and what was chosen by it."""

from __future__ import annotations

from pydantic import Field

from study.core.config import Frozen

SIZED = (
    "model.width", "evaluation.num_steps", "distill.batch_real", "distill.batch_synthetic", "distill.num_iterations",
    "distill.experts.epoch_fraction", "search.num_trials", "search.rungs", "search.num_rung_seeds",
    "search.num_trial_seeds", "search.num_random_seeds", "search.num_finalists", "search.num_finalist_seeds",
)  # fmt: skip
"""Every setting that a budget may choose."""


class WorkConfig(Frozen):
    """Limits in seconds of counted work on the nominal machine, two CPU cores with bfloat16.

    Work is counted and never timed, so the same command makes the same set on every machine. What a recipe or the
    user states is not chosen; :mod:`study.runs.config.sizing` says how the rest is.
    """

    score_seconds: float | None = Field(None, gt=0)
    """Of training one evaluation network and classifying the validation images."""
    evaluation_seconds: float | None = Field(None, gt=0)
    """Of all scores of a search on its own architecture, but for those of random real images."""
    baseline_seconds: float | None = Field(None, gt=0)
    """Of all scores of random real images on that architecture."""
    trial_seconds: float | None = Field(None, gt=0)
    """Of distilling in one trial."""
    preparation_seconds: float | None = Field(None, gt=0)
    """Of preparing the first trial: experts, scores of difficulty, the choice of a step size."""
    num_iterations_least: int = Field(30, ge=1)
    """Iterations of a trial, even where they take longer; there are fewer trials then."""
    num_iterations_most: int = Field(300, ge=1)
    """Iterations of a trial, even where more would fit."""
    open: tuple[str, ...] = ()
    """Settings that are still to be chosen, once the data is known."""
    chosen: dict[str, str] = Field(default_factory=dict)
    """What was chosen, and why."""

    @property
    def has_limits(self) -> bool:
        """Whether the budget limits anything."""
        limits = (self.score_seconds, self.evaluation_seconds, self.baseline_seconds, self.trial_seconds,
                  self.preparation_seconds)  # fmt: skip
        return any(limit is not None for limit in limits)
