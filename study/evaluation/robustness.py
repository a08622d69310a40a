"""Accuracy under Gaussian noise: on the images a network learns from, and on those it classifies."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError, ShapeError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.metrics import accuracy, headline_metric, predict, score_logits
from study.evaluation.protocol import EvaluationConfig, build_job, check_scorable, evaluation_seeds
from study.evaluation.training import train_networks
from study.models.network import Network
from study.models.pool import ModelConfig

__all__ = ["NOISE_LEVELS", "NoiseTest", "accuracy_by_agreement"]

NOISE_LEVELS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Standard deviations of the noise, in units of the deviation of the real training images."""


@dataclass(frozen=True)
class NoiseTest:
    """What the curves of a comparison share.

    Sets are given as one that all seeds share, or one for each seed, as for random real images. Two calls
    train from the same seeds and draw the same noise, every level at another size, so that a curve shows the
    noise and not the draw.

    Attributes:
        real: images to classify.
        unit: size of noise level 1 in normalised space: the deviation of the real training images.
        model: the architecture.
        config: the training recipe.
        augmentation: the dataset's.
        compute: device and precision.
        generators: evaluation seeds as in :func:`~study.evaluation.protocol.evaluate`; child ``noise``
            draws the noise.
        levels: sizes of the noise in units of ``unit``.
        num_seeds: networks of each score.
        votes: [n] int64 annotators who chose class 1 of each real image, or None. Where given, further
            metrics tell accuracies apart as :func:`accuracy_by_agreement` does.
        num_annotators: votes an image.

    Raises:
        ConfigError: a level is below 0 or not finite, or there is no level or no seed.
    """

    real: ImageDataset
    unit: float
    model: ModelConfig
    config: EvaluationConfig
    augmentation: AugmentationConfig
    compute: Compute
    generators: Generators
    levels: Sequence[float] = NOISE_LEVELS
    num_seeds: int = 5
    votes: Tensor | None = None
    num_annotators: int = 0

    def __post_init__(self) -> None:
        for level in self.levels:
            if not 0 <= level < float("inf"):
                raise ConfigError(f"noise level {level}: must be a finite number of at least 0")
        if not self.levels or self.num_seeds < 1:
            raise ConfigError(f"{len(self.levels)} levels, {self.num_seeds} seeds: need one of each at least")

    def on_training_images(self, sets: Sequence[SyntheticSet]) -> list[Score]:
        """Scores of networks that learned from noisy images and classify clean ones, one score a level.

        Raises:
            ConfigError: there is neither one set nor one a seed.
        """
        noise = [_noise(one.images, self.generators.child("noise", index)) for index, one in enumerate(sets)]
        scores = []
        for level in self.levels:
            started = time.perf_counter()
            noisy = [
                replace(one, images=one.images + level * self.unit * drawn)
                for one, drawn in zip(sets, noise, strict=True)
            ]
            networks = self._trained(noisy, self.num_seeds * len(self.levels))
            rows = [self._row(network, self._real.images) for network in networks]
            scores.append(self._score(rows, time.perf_counter() - started))
        return scores

    def on_real_images(self, sets: Sequence[SyntheticSet]) -> list[Score]:
        """Scores of networks that learned from clean images and classify noisy ones, one score a level.

        Each network is trained once and classifies every level.

        Raises:
            ConfigError: there is neither one set nor one a seed.
        """
        started = time.perf_counter()
        images = self._real.images
        noise = _noise(images, self.generators.child("noise"))
        rows: list[list[dict[str, float]]] = [[] for _ in self.levels]
        for network in self._trained(sets, self.num_seeds):
            for found, level in zip(rows, self.levels, strict=True):
                found.append(self._row(network, images + level * self.unit * noise))
        seconds = time.perf_counter() - started
        return [self._score(found, seconds / len(rows)) for found in rows]

    @functools.cached_property
    def _real(self) -> ImageDataset:
        return self.real.to(self.compute.device)

    def _trained(self, sets: Sequence[SyntheticSet], expected_networks: int) -> Iterator[Network]:
        """One network a seed, valid until the next is asked for."""
        if len(sets) not in (1, self.num_seeds):
            raise ConfigError(f"{len(sets)} sets for {self.num_seeds} seeds: need one set, or one a seed")
        shared = len(sets) == 1
        for index, one in enumerate(sets):
            check_scorable(one, self.real)
            job = build_job(one, self.model, self.config.resolve(), self.augmentation, self.compute)
            family = self.generators if shared else self.generators.child("draw", index)
            seeds = evaluation_seeds(family, self.num_seeds if shared else 1)
            if job.schedule is not None and job.schedule.network_seed is not None:
                seeds = seeds[:1]  # its steps belong to one network, and training has a single outcome
            yield from train_networks(job, seeds, expected_networks)

    def _row(self, network: Network, images: Tensor) -> dict[str, float]:
        logits = predict(network, images, self.compute)
        row = score_logits(logits, self._real)
        if self.votes is not None:
            row.update(accuracy_by_agreement(logits, self._real.labels, self.votes, self.num_annotators))
        return row

    def _score(self, rows: list[dict[str, float]], seconds: float) -> Score:
        columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
        metric = headline_metric(self.real)
        return Score(metric, columns.pop(metric), columns, seconds)


def accuracy_by_agreement(
    logits: Tensor, labels: Tensor, votes: Tensor, num_annotators: int
) -> dict[str, float]:
    """Accuracy apart for images on which more or fewer annotators agreed.

    Args:
        logits: [n, 2].
        labels: [n] int64, the majority's class.
        votes: [n] int64, annotators who chose class 1.
        num_annotators: of each image.

    Returns:
        ``accuracy_agreement_<k>`` for every number k of annotators who chose the majority's class that
        occurs, from the hardest images to the easiest.

    Raises:
        ShapeError: there is not one vote count an image, or one exceeds ``num_annotators``.
    """
    if votes.shape != labels.shape or int(votes.max()) > num_annotators or int(votes.min()) < 0:
        raise ShapeError(
            f"votes {tuple(votes.shape)} up to {int(votes.max())}: expected one of 0 to {num_annotators} for each "
            f"of {len(labels)} images"
        )
    votes = votes.to(labels.device)
    agreement = torch.maximum(votes, num_annotators - votes)
    return {
        f"accuracy_agreement_{count}": accuracy(logits[agreement == count], labels[agreement == count])
        for count in sorted(set(agreement.tolist()))
    }


def _noise(images: Tensor, generators: Generators) -> Tensor:
    source = generators["noise"]
    return torch.randn(images.shape, generator=source, device=source.device).to(images.device)
