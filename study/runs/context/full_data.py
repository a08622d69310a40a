"""The line above every set: networks trained on all real training images, as commands, runs and cards show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.core.records import ImageDataset, Score
from study.evaluation.full_data import FullData, full_data_recipe
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.sets.manifest import FullDataRecord, ScoreRecord

__all__ = [
    "FullDataLine",
    "full_data_line",
    "full_data_metrics",
    "full_data_record",
    "known_full_data_scores",
    "open_full_data",
]

MAX_UNASKED_SECONDS = 20.0
"""Up to that expected price a command trains on the whole data without being asked to."""


@dataclass(frozen=True)
class FullDataLine:
    """The score of the whole training data on one split, with what it came from; accuracies are fractions.

    Attributes:
        model: architecture, the one the set was distilled with.
        num_images: real training images, without those held out for validation.
        num_epochs: passes over them.
        recipe: how they were trained on, which is not the set's own recipe.
        expected_seconds: rough price of the score where it is not kept yet.
        score: metric, mean, deviation (ddof 1), n and values; None where nobody has trained on them yet.
    """

    model: str
    num_images: int
    num_epochs: int
    recipe: dict[str, Any]
    expected_seconds: float
    score: dict[str, Any] | None

    @property
    def label(self) -> str:
        """What a table calls it."""
        return f"whole training data ({self.num_images:,} images, {self.num_epochs} epochs)"

    def metrics(self, prefix: str) -> dict[str, float]:
        """What a run records of it under ``full/``; nothing where the score is not known."""
        if self.score is None:
            return {}
        return _metrics(prefix, self.score["mean"], self.score["std"], self.score["n"])


def open_full_data(context: RunContext) -> FullData:
    """The whole training data of a run, for the architecture its sets are distilled with."""
    config = context.config
    # How a set's images are augmented changes neither the real ones nor, without augmentation, their training.
    data = config.data.model_dump(mode="json", exclude={"augmentation", "augmentation_ranges"})
    return FullData(
        context.train, {"fingerprint": context.splits.fingerprint, "data": data}, config.model,
        context.splits.augmentation, context.compute, full_data_recipe(len(context.train)),
    )  # fmt: skip


def known_full_data_scores(context: RunContext, splits: Sequence[str]) -> dict[str, Score]:
    """The scores by split that an earlier evaluation has left in the cache; opens and trains nothing."""
    whole = open_full_data(context)
    found = {split: whole.find(split) for split in splits}
    return {split: score for split, score in found.items() if score is not None}


def full_data_record(context: RunContext, scores: Mapping[str, Score]) -> FullDataRecord | None:
    """Scores of the whole training data by split, as a manifest holds them; None where there are none."""
    if not scores:
        return None
    whole = open_full_data(context)
    return FullDataRecord(
        num_images=len(whole.train),
        num_epochs=whole.num_epochs,
        scores={split: ScoreRecord.of(score) for split, score in scores.items()},
    )


def full_data_line(
    context: RunContext,
    split: str,
    real: Callable[[], ImageDataset],
    wanted: bool | None,
    callback: Callback,
) -> FullDataLine:
    """The line on a split: from the cache, or trained now if that is wanted.

    Args:
        context: data and machine.
        split: name of what ``real`` gives.
        real: gives the images to classify; asked only where networks are trained.
        wanted: whether to train where the score is not kept; None does where it costs seconds.
        callback: told before networks are trained.
    """
    whole = open_full_data(context)
    seconds = whole.expected_seconds
    score = whole.find(split)
    if score is None and (seconds <= MAX_UNASKED_SECONDS if wanted is None else wanted):
        callback.on_phase(
            f"training {whole.config.num_seeds} networks on all {len(whole.train):,} training images, "
            f"{whole.num_epochs} epochs"
        )
        score = whole.score(split, real)
    return FullDataLine(
        model=whole.model.name,
        num_images=len(whole.train),
        num_epochs=whole.num_epochs,
        recipe=whole.config.resolve().model_dump(mode="json"),
        expected_seconds=seconds,
        score=None if score is None else score.summary(),
    )


def full_data_metrics(scores: Mapping[str, Score]) -> dict[str, float]:
    """What a run records of scores by split: ``full/val_accuracy`` and the like."""
    metrics: dict[str, float] = {}
    for split, score in scores.items():
        metrics.update(_metrics("val" if split == "validation" else split, score.mean, score.std, score.n))
    return metrics


def _metrics(prefix: str, mean: float, std: float, n: int) -> dict[str, float]:
    return {
        f"full/{prefix}_accuracy": mean,
        f"full/{prefix}_accuracy_std": std,
        "full/num_seeds": float(n),
    }
