"""Accuracy under Gaussian noise: on the images a network learns from, and on those it classifies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError, ShapeError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.metrics import accuracy, headline_metric, predict, score_logits
from study.evaluation.protocol import EvaluationConfig, build_job, evaluate, evaluation_seeds
from study.evaluation.training import train_networks
from study.models.pool import ModelConfig

__all__ = ["NOISE_LEVELS", "accuracy_by_agreement", "score_on_noisy_real", "score_on_noisy_set"]

NOISE_LEVELS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Standard deviations of the noise, in units of the deviation of the real training images."""


def score_on_noisy_set(
    sets: Sequence[SyntheticSet],
    real: ImageDataset,
    unit: float,
    model: ModelConfig,
    config: EvaluationConfig,
    augmentation: AugmentationConfig,
    compute: Compute,
    generators: Generators,
    *,
    levels: Sequence[float] = NOISE_LEVELS,
    num_seeds: int = 5,
) -> list[Score]:
    """Scores of networks that learned from noisy images, one score a level.

    Every level adds the same noise at another size, and trains with the same seeds, so that a curve shows
    the noise and not the draw.

    Args:
        sets: one set that all seeds share, or one for each seed, as for random real images.
        real: images to classify, without noise.
        unit: size of noise level 1 in normalised space: the deviation of the real training images.
        model: the architecture.
        config: the training recipe.
        augmentation: the dataset's.
        compute: device and precision.
        generators: evaluation seeds as in :func:`~study.evaluation.protocol.evaluate`; child ``noise`` draws
            the noise.
        levels: sizes of the noise in units of ``unit``.
        num_seeds: networks a level.

    Raises:
        ConfigError: a level is below 0 or not finite, or there is neither one set nor one a seed.
    """
    _check(sets, levels, num_seeds)
    scores = []
    for level in levels:
        noisy = [
            replace(
                one, images=one.images + level * unit * _noise(one.images, generators.child("noise", index))
            )
            for index, one in enumerate(sets)
        ]
        if len(noisy) == 1:
            scores.append(
                evaluate(noisy[0], real, model, config, augmentation, compute, generators,
                         num_seeds=num_seeds, expected_evaluations=len(levels))
            )  # fmt: skip
            continue
        parts = [
            evaluate(one, real, model, config, augmentation, compute, generators.child("draw", index),
                     num_seeds=1, expected_evaluations=num_seeds * len(levels))
            for index, one in enumerate(noisy)
        ]  # fmt: skip
        scores.append(_join(parts))
    return scores


def score_on_noisy_real(
    sets: Sequence[SyntheticSet],
    real: ImageDataset,
    unit: float,
    model: ModelConfig,
    config: EvaluationConfig,
    augmentation: AugmentationConfig,
    compute: Compute,
    generators: Generators,
    *,
    levels: Sequence[float] = NOISE_LEVELS,
    num_seeds: int = 5,
    votes: Tensor | None = None,
    num_annotators: int = 0,
) -> list[Score]:
    """Scores of networks that learned from clean images and classify noisy ones, one score a level.

    Each network is trained once and classifies every level.

    Args:
        sets: as for :func:`score_on_noisy_set`.
        real: images to classify, which the noise is added to.
        unit: as for :func:`score_on_noisy_set`.
        model: the architecture.
        config: the training recipe.
        augmentation: the dataset's.
        compute: device and precision.
        generators: evaluation seeds as in :func:`~study.evaluation.protocol.evaluate`; child ``noise`` draws
            the noise.
        levels: sizes of the noise in units of ``unit``.
        num_seeds: networks.
        votes: [n] int64 annotators who chose class 1 of each real image, or None. Where given, further
            metrics tell accuracies apart as :func:`accuracy_by_agreement` does.
        num_annotators: votes an image.

    Raises:
        ConfigError: as for :func:`score_on_noisy_set`.
    """
    _check(sets, levels, num_seeds)
    started = time.perf_counter()
    real = real.to(compute.device)
    noise = _noise(real.images, generators.child("noise"))
    rows: list[list[dict[str, float]]] = [[] for _ in levels]
    shared = len(sets) == 1
    for index, one in enumerate(sets):
        job = build_job(one, model, config.resolve(), augmentation, compute)
        family = generators if shared else generators.child("draw", index)
        for network in train_networks(job, evaluation_seeds(family, num_seeds if shared else 1), num_seeds):
            for place, level in enumerate(levels):
                logits = predict(network, real.images + level * unit * noise, compute)
                row = score_logits(logits, real)
                if votes is not None:
                    row.update(accuracy_by_agreement(logits, real.labels, votes, num_annotators))
                rows[place].append(row)
    metric = headline_metric(real)
    seconds = time.perf_counter() - started
    return [_score(some, metric, seconds / len(levels)) for some in rows]


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


def _check(sets: Sequence[SyntheticSet], levels: Sequence[float], num_seeds: int) -> None:
    for level in levels:
        if not 0 <= level < float("inf"):
            raise ConfigError(f"noise level {level}: must be a finite number of at least 0")
    if not levels or num_seeds < 1 or len(sets) not in (1, num_seeds):
        raise ConfigError(
            f"{len(sets)} sets, {num_seeds} seeds, {len(levels)} levels: need a level, and one set or one a seed"
        )


def _score(rows: list[dict[str, float]], metric: str, seconds: float) -> Score:
    columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
    return Score(metric, columns.pop(metric), columns, seconds)


def _join(parts: Sequence[Score]) -> Score:
    """One score whose seeds are those of several."""
    extra = {name: tuple(value for part in parts for value in part.extra[name]) for name in parts[0].extra}
    values = tuple(value for part in parts for value in part.values)
    return Score(parts[0].metric, values, extra, sum(part.seconds for part in parts))
