"""What a distilled score stands beside: random real images, the whole set, the majority class."""

from __future__ import annotations

import torch

from study.core.device import Compute
from study.core.digests import dataset_digest, set_digest
from study.core.errors import ConfigError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.protocol import EvaluationConfig, build_job, evaluate
from study.evaluation.score_cache import cached_score
from study.evaluation.training import should_compile
from study.models.pool import ModelConfig

__all__ = ["majority_rate", "random_baseline", "random_real_sets", "whole_set"]

_VERSION = 1
"""Part of every key: raise it when the same key would give other scores."""
_OF_LEARNED_SETS = {"use_learned_step_size", "use_soft_labels", "use_schedule"}


def random_real_sets(
    train: ImageDataset, ipc: int, num_draws: int, generators: Generators
) -> list[SyntheticSet]:
    """Independent draws of ``ipc`` real images a class, without replacement, grouped by class.

    Draw i depends on ``generators`` and i alone.

    Raises:
        ConfigError: ``ipc`` is below 1 or above the smallest class, or ``num_draws`` is below 1.
    """
    counts = train.class_counts()
    if not 1 <= ipc <= min(counts):
        raise ConfigError(f"ipc = {ipc}: must be between 1 and {min(counts)}, the size of the smallest class")
    if num_draws < 1:
        raise ConfigError(f"num_draws = {num_draws}: must be at least 1")
    sets = []
    by_class = [positions.cpu() for positions in train.class_indices()]
    for index in range(num_draws):
        generator = generators.child("random", index)["selection"]
        chosen = [
            positions[
                torch.randperm(len(positions), generator=generator, device=generator.device).cpu()[:ipc]
            ]
            for positions in by_class
        ]
        picked = train.subset(torch.cat(chosen).to(train.labels.device))
        sets.append(SyntheticSet(picked.images, picked.labels, train.class_names))
    return sets


def random_baseline(
    train: ImageDataset,
    real: ImageDataset,
    ipc: int,
    model: ModelConfig,
    config: EvaluationConfig,
    augmentation: AugmentationConfig,
    compute: Compute,
    generators: Generators,
    *,
    num_draws: int | None = None,
    expected_evaluations: int = 1,
) -> Score:
    """Score of random real images under the same recipe: a fresh draw for every evaluation seed.

    No synthetic image takes part, so the score is kept in the user's cache under everything that determines
    it: the drawn and the classified images themselves, network, recipe and seeds. Searches of any method
    that share these train it once.

    Args:
        train: where images are drawn from.
        real: where they are scored.
        ipc: images a class.
        model: the architecture.
        config: preset and what differs from it.
        augmentation: the dataset's; used where the recipe augments.
        compute: device, precision and compilation.
        generators: draw i uses ``generators.child("random", i)``, for its images and its network.
        num_draws: draws, and networks trained; by default the configured number of seeds.
        expected_evaluations: how many such baselines and evaluations the caller will make in all.

    Raises:
        ConfigError: ``ipc`` or ``num_draws`` is impossible.
        DataError: the cache folder cannot be written.
    """
    count = config.num_seeds if num_draws is None else num_draws
    expected = count * expected_evaluations
    sets = random_real_sets(train, ipc, count, generators)
    recipe = config.resolve()
    job = build_job(sets[0], model, recipe, augmentation, compute)
    key = {
        "version": _VERSION,
        "drawn": [set_digest(drawn) for drawn in sets],
        "classified": dataset_digest(real),
        "model": model.model_dump(mode="json"),
        # Random images have neither soft labels nor step sizes, so what a recipe does with them is all one.
        "recipe": recipe.model_dump(mode="json", exclude=_OF_LEARNED_SETS),
        "augmentation": augmentation.model_dump(mode="json") if recipe.augment else None,
        "seed": generators.seed,
        "device": compute.device.type,
        "precision": str(compute.dtype).removeprefix("torch."),
        "compiled": should_compile(job, expected),
    }

    def train_networks() -> Score:
        scores = [
            evaluate(
                drawn, real, model, config, augmentation, compute, generators.child("random", index),
                num_seeds=1, expected_evaluations=expected,
            )
            for index, drawn in enumerate(sets)
        ]  # fmt: skip
        return _joined(scores)

    return cached_score("random-images", key, train_networks)


def _joined(scores: list[Score]) -> Score:
    """One score whose seeds are those of all scores, one each."""
    extra = {name: tuple(score.extra[name][0] for score in scores) for name in scores[0].extra}
    values = tuple(score.values[0] for score in scores)
    return Score(scores[0].metric, values, extra, sum(score.seconds for score in scores))


def whole_set(train: ImageDataset) -> SyntheticSet:
    """A whole real dataset as a set to evaluate, grouped by class."""
    order = torch.argsort(train.labels, stable=True)
    picked = train.subset(order)
    return SyntheticSet(picked.images, picked.labels, train.class_names)


def majority_rate(real: ImageDataset) -> float:
    """Accuracy of always naming the commonest class; the balanced accuracy of that is 1 / classes."""
    counts = real.class_counts()
    return max(counts) / sum(counts)
