"""What a search has to do: counted from its configuration and the size of the data."""

from __future__ import annotations

from dataclasses import dataclass

from study.data.splits import DataSplits
from study.methods.base import TaskSize, find_method
from study.models.work import Loads, nominal_seconds
from study.runs.config.configure import RunConfig
from study.search.config import SearchConfig

NUM_BASELINES = 2
"""Splits on which random real images are scored: validation and test."""


@dataclass(frozen=True)
class DataSize:
    """What the rule knows of the data.

    Attributes:
        image_shape: channels, height, width.
        class_counts: training images of each class.
        num_validation: images that every score classifies.
    """

    image_shape: tuple[int, int, int]
    class_counts: tuple[int, ...]
    num_validation: int

    @classmethod
    def of(cls, splits: DataSplits) -> DataSize:
        """That of loaded data."""
        return cls(splits.image_shape, tuple(splits.train.class_counts()), len(splits.validation))

    def of_task(self, config: RunConfig) -> TaskSize:
        """What a method counts by."""
        return TaskSize(self.image_shape, self.class_counts, config.ipc, config.model)


def iteration_seconds(config: RunConfig, data: DataSize) -> float:
    """Nominal seconds of one iteration of the method."""
    method = find_method(config.method)(config.distill, config.space)
    return nominal_seconds(method.iteration_loads(data.of_task(config)))


def preparation_loads(config: RunConfig, data: DataSize) -> Loads:
    """Counted work of what the method prepares where nothing is cached."""
    method = find_method(config.method)(config.distill, config.space)
    return method.preparation_loads(data.of_task(config))


def score_loads(config: RunConfig, data: DataSize) -> Loads:
    """Counted work of one evaluation network: training, and classifying validation."""
    size, recipe = data.of_task(config), config.evaluation.resolve()
    batch = min(recipe.batch_size, size.num_synthetic)
    return {
        "evaluation": size.work.training(batch, recipe.steps(size.num_synthetic)),
        "prediction": size.work.prediction(data.num_validation),
    }


def num_baseline_networks(search: SearchConfig) -> int:
    """Those of random real images."""
    return NUM_BASELINES * search.num_random_seeds


def num_scored_networks(search: SearchConfig) -> int:
    """Networks of the set's own architecture that a search trains if nothing is pruned, those of test included.

    Every trial's rungs, its end and its starting point (two kinds of them are usual), random images on validation and
    on test, the finalists, and on test the winner.
    """
    of_trials = search.num_trials * (len(search.rungs) * search.num_rung_seeds + search.num_trial_seeds)
    starts = min(2, search.num_trials) * search.num_trial_seeds
    finalists = (min(search.num_finalists, search.num_trials) + 1) * search.num_finalist_seeds
    return of_trials + starts + num_baseline_networks(search) + finalists
