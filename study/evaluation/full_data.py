"""What networks reach on all real training images: the line above every set, trained once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.reporting import work
from study.core.seeding import Generators
from study.evaluation.baselines import full_set
from study.evaluation.evaluator import Evaluator
from study.evaluation.recipes import EvaluationConfig
from study.evaluation.score_cache import cached_score, find_score
from study.evaluation.training import training_seconds

FULL_DATA = EvaluationConfig(preset="course", lr=0.05, batch_size=64, num_seeds=3)
"""How all real data is trained on: 20 epochs of cosine, with which digits reach 99.1 % on validation."""
MANY_IMAGES, FEW_EPOCHS = 10_000, 4
"""From so many training images on, that many epochs: three bring MNIST to 99.1 % on validation, 20 take an hour."""

_NAME = "full-data"
_VERSION = 2
"""Part of every key: raise it when the same key would give other scores."""
_SEED = 0


def full_data_recipe(num_images: int) -> EvaluationConfig:
    """The recipe for that many real images."""
    many = num_images >= MANY_IMAGES
    return FULL_DATA.model_copy(update={"num_epochs": FEW_EPOCHS}) if many else FULL_DATA


@dataclass(frozen=True)
class FullData:
    """All real training images as a set, and the score of networks trained on them.

    The score belongs to the data and not to a set, so it is kept in the user's cache under everything that
    determines it, and two sets of the same data stand below the same line.

    Attributes:
        evaluator: architecture, machine and the training images.
        source: plain values that determine these and what is classified, such as the fingerprint.
        config: recipe and number of seeds, not those of a set; see :func:`full_data_recipe`.
    """

    evaluator: Evaluator
    source: Mapping[str, Any]
    config: EvaluationConfig

    @property
    def num_images(self) -> int:
        """Real training images; those held out for validation are not among them."""
        return len(self.evaluator.train)

    @property
    def num_epochs(self) -> int:
        """Passes over the training images."""
        return self.config.resolve().epochs

    @property
    def expected_seconds(self) -> float:
        """Rough price of the score where it is not kept yet: counted work at a nominal rate."""
        # Not grouped by class, which would copy every image and change no price.
        train = self.evaluator.train
        images = SyntheticSet(train.images, train.labels, train.class_names)
        job = self.evaluator.changed(config=self.config).job(images)
        return training_seconds(job) * self.config.num_seeds

    @property
    def label(self) -> str:
        """What a table calls it."""
        return f"whole training data ({self.num_images:,} images, {self.num_epochs} epochs)"

    @staticmethod
    def metrics(scores: Mapping[str, Score]) -> dict[str, float]:
        """What a run records of scores by split: ``full/val_accuracy`` and the like."""
        metrics: dict[str, float] = {}
        for split, score in scores.items():
            key = f"full/{'val' if split == 'validation' else split}_accuracy"
            metrics.update({key: score.mean, f"{key}_std": score.std, "full/num_seeds": float(score.n)})
        return metrics

    def known(self, splits: Sequence[str]) -> dict[str, Score]:
        """The scores by split that an earlier evaluation has left in the cache; opens and trains nothing."""
        found = {split: self.find(split) for split in splits}
        return {split: score for split, score in found.items() if score is not None}

    def find(self, split: str) -> Score | None:
        """The score on a split where it is kept; nothing is trained, no image is opened."""
        return find_score(_NAME, self._key(split))

    def score(self, split: str, real: Callable[[], ImageDataset]) -> Score:
        """The score on a split, from the cache or trained now; only then ``real`` is asked for its images.

        Raises:
            DataError: the cache folder cannot be written.
        """
        evaluator, seeds = self.evaluator, Generators(_SEED, self.evaluator.compute.device)

        def train() -> Score:
            there = evaluator.changed(real=real(), config=self.config, generators=seeds, expected_scores=1)
            with work("training on all real images", self.config.num_seeds):
                return there.score(full_set(evaluator.train))

        return cached_score(_NAME, self._key(split), train)

    def _key(self, split: str) -> dict[str, Any]:
        evaluator, recipe = self.evaluator, self.config.resolve()
        return {
            **self.source,
            "version": _VERSION,
            "model": evaluator.model.model_dump(mode="json"),
            "recipe": recipe.model_dump(mode="json"),
            "augmentation": evaluator.augmentation.model_dump(mode="json") if recipe.augment else None,
            "seeds": [_SEED, self.config.num_seeds],
            "device": evaluator.compute.device.type,
            "precision": str(evaluator.compute.dtype).removeprefix("torch."),
            "split": split,
        }
