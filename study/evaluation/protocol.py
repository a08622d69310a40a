"""Scoring a synthetic set: train fresh networks on it, classify real images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError, DivergedError, ShapeError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.metrics import headline_metric, predict, score_logits
from study.evaluation.recipes import PRESETS, EvaluationConfig, TrainingRecipe
from study.evaluation.training import TrainingJob, train_networks
from study.models.pool import ModelConfig

__all__ = ["PRESETS", "EvaluationConfig", "build_job", "check_scorable", "evaluate", "evaluation_seeds"]


def evaluate(
    synthetic: SyntheticSet,
    real: ImageDataset,
    model: ModelConfig,
    config: EvaluationConfig,
    augmentation: AugmentationConfig,
    compute: Compute,
    generators: Generators,
    *,
    num_seeds: int | None = None,
    on_seed: Callable[[int, float], None] | None = None,
    expected_evaluations: int = 1,
) -> Score:
    """Train fresh networks on a set and score each once, after its last step.

    Seed i depends on ``generators`` and i alone, so more seeds keep the scores of the first ones (up to
    rounding, where they are stacked differently). A network that diverges in training scores what it
    scores: chance.

    A set that was learned together with its steps is trained on by replaying these, in float32 as they
    were learned, unless the configuration says otherwise. Where they belong to one network, training has a
    single outcome, and the score a single value.

    Args:
        synthetic: what to train on; never modified. A whole real dataset is one too, see
            :func:`study.evaluation.baselines.whole_set`.
        real: images to classify; the headline is balanced accuracy where their classes are unbalanced.
        model: the architecture.
        config: preset and what differs from it.
        augmentation: the dataset's; used where the recipe augments.
        compute: device, precision and compilation.
        generators: seed i uses ``generators.child("evaluation", i)``.
        num_seeds: networks to train; by default the configured number.
        on_seed: called with the index and the headline of every network as it is scored.
        expected_evaluations: how many evaluations like this one the caller will make in all; a long
            search earns the compiler's time back where a single score does not.

    Raises:
        DivergedError: an image or a soft label is not finite.
        ShapeError: set and real images differ in shape or classes, or one of them is empty.
    """
    started = time.perf_counter()
    check_scorable(synthetic, real)
    job = build_job(synthetic, model, config.resolve(), augmentation, compute)
    real = real.to(compute.device)
    count = config.num_seeds if num_seeds is None else num_seeds
    if job.schedule is not None and job.schedule.network_seed is not None:
        count = min(count, 1)
    seeds = evaluation_seeds(generators, count)
    metric = headline_metric(real)
    rows: list[dict[str, float]] = []
    for index, network in enumerate(train_networks(job, seeds, count * expected_evaluations)):
        rows.append(score_logits(predict(network, real.images, compute), real))
        if on_seed is not None:
            on_seed(index, rows[-1][metric])
    columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
    return Score(metric, columns.pop(metric), columns, time.perf_counter() - started)


def evaluation_seeds(generators: Generators, num_seeds: int) -> list[Generators]:
    """The families of generators of the first evaluation seeds, unused."""
    if num_seeds < 1:
        raise ShapeError(f"num_seeds = {num_seeds}: a score needs at least 1 evaluation seed")
    return [generators.child("evaluation", index) for index in range(num_seeds)]


def build_job(
    synthetic: SyntheticSet,
    model: ModelConfig,
    recipe: TrainingRecipe,
    augmentation: AugmentationConfig,
    compute: Compute,
) -> TrainingJob:
    """What a recipe makes of a set: targets, learning rate, augmentation and steps chosen.

    Raises:
        ConfigError: the learned step size is to be used, and is not a positive number.
    """
    synthetic = synthetic.to(compute.device)
    targets: Tensor = synthetic.targets() if recipe.use_soft_labels else synthetic.labels
    learned = synthetic.step_size if recipe.use_learned_step_size else None
    if learned is not None and not 0 < learned < math.inf:
        raise ConfigError(f"the set's learned step size is {learned}; must be positive to train with")
    if not recipe.augment:
        augmentation = augmentation.model_copy(update={"strategy": "none"})
    schedule = synthetic.schedule if recipe.use_schedule else None
    if schedule is not None:
        # A few large steps forgive no rounding that they were not learned with.
        compute = replace(compute, dtype=torch.float32)
    return TrainingJob(
        images=synthetic.images.detach(),
        targets=targets.detach(),
        num_classes=synthetic.num_classes,
        model=model,
        recipe=recipe,
        lr=recipe.lr if learned is None else learned,
        augmentation=augmentation,
        compute=compute,
        schedule=schedule,
    )


def check_scorable(synthetic: SyntheticSet, real: ImageDataset) -> None:
    """Refuse what no network can be trained on, or scored by.

    Raises:
        DivergedError: an image or a soft label is not finite.
        ShapeError: set and real images differ in shape or classes, or one of them is empty.
    """
    if not len(synthetic) or not len(real):
        raise ShapeError(f"cannot score {len(synthetic)} training images on {len(real)} real images")
    if synthetic.images.shape[1:] != real.images.shape[1:] or synthetic.num_classes != real.num_classes:
        raise ShapeError(
            f"the set has {synthetic.num_classes} classes of {tuple(synthetic.images.shape[1:])}, "
            f"the real images {real.num_classes} of {tuple(real.images.shape[1:])}"
        )
    for what, values in (("a synthetic image", synthetic.images), ("a soft label", synthetic.logits)):
        if values is not None and not bool(torch.isfinite(values).all()):
            raise DivergedError(what)
