"""What a network reaches on all real training images: the line above every set, trained once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from study.core.device import Compute
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.baselines import whole_set
from study.evaluation.protocol import EvaluationConfig, build_job, evaluate
from study.evaluation.score_cache import cached_score, find_score
from study.evaluation.training import training_seconds
from study.models.pool import ModelConfig

__all__ = ["FULL_DATA", "FullData", "full_data_recipe"]

FULL_DATA = EvaluationConfig(preset="course", lr=0.05, batch_size=64, num_seeds=3)
"""How whole real data is trained on: 20 epochs of cosine, with which digits reach 99.1 % on validation."""
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
        train: every real training image; the validation images are not among them.
        source: plain values that determine ``train`` and what it is scored on, such as the fingerprint.
        model: the architecture.
        augmentation: the dataset's; used where the recipe augments.
        compute: device and precision.
        config: recipe and number of seeds.
    """

    train: ImageDataset
    source: Mapping[str, Any]
    model: ModelConfig
    augmentation: AugmentationConfig
    compute: Compute
    config: EvaluationConfig

    @property
    def num_epochs(self) -> int:
        """Passes over the training images."""
        return self.config.resolve().epochs

    @property
    def expected_seconds(self) -> float:
        """Rough price of the score where it is not kept yet: counted work at a nominal rate."""
        # Not grouped by class, which would copy every image and change no price.
        images = SyntheticSet(self.train.images, self.train.labels, self.train.class_names)
        job = build_job(images, self.model, self.config.resolve(), self.augmentation, self.compute)
        return training_seconds(job) * self.config.num_seeds

    def find(self, split: str) -> Score | None:
        """The score on a split where it is kept; nothing is trained, no image is opened."""
        return find_score(_NAME, self._key(split))

    def score(
        self,
        split: str,
        real: Callable[[], ImageDataset],
    ) -> Score:
        """The score on a split, from the cache or trained now.

        Args:
            split: name of what ``real`` gives, part of the key.
            real: gives the images to classify; asked only where networks are trained.

        Raises:
            DataError: the cache folder cannot be written.
        """

        def train() -> Score:
            return evaluate(
                whole_set(self.train), real(), self.model, self.config, self.augmentation, self.compute,
                Generators(_SEED, self.compute.device),
            )  # fmt: skip

        return cached_score(_NAME, self._key(split), train)

    def _key(self, split: str) -> dict[str, Any]:
        recipe = self.config.resolve()
        return {
            **self.source,
            "version": _VERSION,
            "model": self.model.model_dump(mode="json"),
            "recipe": recipe.model_dump(mode="json"),
            "augmentation": self.augmentation.model_dump(mode="json") if recipe.augment else None,
            "seeds": [_SEED, self.config.num_seeds],
            "device": self.compute.device.type,
            "precision": str(self.compute.dtype).removeprefix("torch."),
            "split": split,
        }
