"""How a search is run: trials, rungs, evaluation seeds, finalists."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from study.core.config import Frozen

OBJECTIVES = ("accuracy", "cross-arch")
"""What a search can raise, in the order in which both are named."""


Serves = Literal["all", "own"]


class SearchConfig(Frozen):
    """Counts and choices of a search; the space itself lives in :mod:`study.core.spaces`."""

    num_trials: int = Field(8, ge=1)
    """Trials to finish; pruned and diverged ones count, interrupted ones do not."""
    rungs: tuple[float, ...] = (0.25, 0.5)
    """Fractions of a trial's iterations after which its set is scored and may be pruned."""
    num_rung_seeds: int = Field(2, ge=1)
    """Evaluation seeds at a rung."""
    num_trial_seeds: int = Field(3, ge=1)
    """Evaluation seeds of a finished trial; their mean is what the sampler sees."""
    num_first_seeds: int | None = Field(None, ge=1)
    """Evaluation seeds that it is scored with first: where accuracy is the objective, it gets the others only while it
    may become a finalist (:mod:`study.search.racing`). None gives every trial all."""
    num_score_steps: int | None = Field(None, ge=1)
    """Updates, at most, of a network that scores a trial or a rung, and random real images beside them; finalists, test
    and other architectures have all of the recipe's. None for no limit."""
    num_random_seeds: int = Field(5, ge=1)
    """Draws of random real images, each with an evaluation seed of its own, on validation, on test and on every other
    architecture; the same draws for every search and evaluation with the same seed."""
    num_finalists: int = Field(3, ge=1)
    """Best trials that are scored again with fresh evaluation seeds."""
    num_finalist_seeds: int = Field(5, ge=1)
    """Fresh evaluation seeds of each finalist, and of the winner on test."""
    cross_models: tuple[str, ...] = ("mlp", "lenet")
    """Architectures, as ``name`` or ``name:width``, on which every finished trial is scored beside its own."""
    num_cross_seeds: int = Field(3, ge=0)
    """Evaluation seeds of each of them; 0 leaves the score out."""
    objective: Literal["accuracy", "cross-arch", "accuracy,cross-arch"] = "accuracy"
    """What the search raises, on validation: the score of the method's own architecture, the mean over
    the other ones, or both, which gives a front of trials instead of an order."""
    serves: Serves = "all"
    """Whom the set that becomes ``best`` has to serve: ``all`` asks it to beat random real images on ``cross_models``
    too, ``own`` on its own architecture only."""
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    """``tpe`` for any space, ``gp`` for small continuous ones, ``random`` as a control."""
    pruner: Literal["median", "none"] = "median"
    """``median`` stops a trial that is below the median of earlier trials at the same rung; with two
    objectives, one whose own network is below it by more than ``prune_margin``."""
    prune_margin: float = Field(0.05, ge=0, lt=1)
    """Accuracy that a trial of two objectives may lack at a rung, since it may gain as much elsewhere."""
    num_startup_trials: int = Field(4, ge=0)
    """Random trials before the sampler models anything; no trial is pruned before as many have finished."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives one by one, in the order of a trial's values."""
        return tuple(self.objective.split(","))

    @property
    def races(self) -> bool:
        """Whether trials are scored with a few networks first."""
        first = self.num_first_seeds
        return first is not None and first < self.num_trial_seeds and self.objectives == ("accuracy",)

    @field_validator("objective", mode="before")
    @classmethod
    def _any_order(cls, asked: Any) -> Any:
        # ``cross-arch, accuracy`` is stored as ``accuracy,cross-arch``; nonsense stays as it is.
        words = [word.strip() for word in asked.split(",")] if isinstance(asked, str) else asked
        known = isinstance(words, list | tuple) and all(word in OBJECTIVES for word in words)
        if not known or len(set(words)) < len(words):
            return asked
        return ",".join(name for name in OBJECTIVES if name in words)

    @field_validator("pruner", mode="before")
    @classmethod
    def _none_is_a_choice(cls, pruner: Any) -> Any:
        # On the command line the word is read as no value.
        return "none" if pruner is None else pruner

    @field_validator("rungs")
    @classmethod
    def _rungs_ascend(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)) or any(not 0 < rung < 1 for rung in rungs):
            raise ValueError("rungs must ascend strictly between 0 and 1")
        return rungs
