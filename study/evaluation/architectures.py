"""The score of a set on architectures it was not distilled with, at a learning rate that suits each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from study.core.device import Compute
from study.core.errors import ConfigError, ShapeError, unknown_name
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.baselines import random_baseline
from study.evaluation.protocol import EvaluationConfig, evaluate
from study.models.pool import MODELS, ModelConfig, build_model

__all__ = [
    "POOLS",
    "Bench",
    "Contender",
    "CrossScore",
    "build_pool",
    "choose_learning_rate",
    "num_rate_networks",
    "parse_model",
]

POOLS: dict[str, tuple[str, ...]] = {"none": (), "quick": ("mlp", "lenet"), "full": tuple(MODELS)}
"""Pools by name: nothing but the set's own network, two that cost little, every architecture there is."""

WIDTHS: dict[str, int] = {
    "convnet": 64,
    "alexnet": 32,
    "vgg11": 16,
    "resnet18": 16,
    "resnet18-ap": 16,
    "vit": 32,
}
"""Widths at which a pool is affordable on two cores; the other architectures have their published one."""

RATED = ("mlp", "lenet", "alexnet", "vgg11", "vit")
"""Architectures whose learning rate is chosen: those without a norm between convolutions and activations, and
VGG11, whose eight layers in a row learn nothing from 8 x 8 images at a rate that suits the ConvNet.

The others have a norm as the recipe's own ConvNet does, and keep the recipe's rate.
"""
RATE_FACTORS = (0.5, 1.0, 2.0, 4.0)
"""Learning rates that are tried, as multiples of the recipe's own."""
NUM_RATE_DRAWS = 2


def num_rate_networks(name: str) -> int:
    """Networks that are trained in order to choose an architecture's learning rate, once for all its scores."""
    return len(RATE_FACTORS) * NUM_RATE_DRAWS if name in RATED else 0


@dataclass(frozen=True)
class Contender:
    """An architecture of the pool with the recipe it is trained by.

    Attributes:
        name: key of the pool.
        model: the architecture.
        config: the set's own recipe, with a learning rate that suits the architecture.
        is_own: whether the set was distilled with it; it then stays out of mean and worst.
    """

    name: str
    model: ModelConfig
    config: EvaluationConfig
    is_own: bool = False


@dataclass(frozen=True)
class CrossScore:
    """Scores by architecture, in the order of the pool.

    Attributes:
        scores: of every architecture, also of the one the set was distilled with.
        own: name of that one.
    """

    scores: Mapping[str, Score]
    own: str

    @property
    def others(self) -> dict[str, Score]:
        """Scores of the architectures that the set was not distilled with."""
        return {name: score for name, score in self.scores.items() if name != self.own}

    @property
    def mean(self) -> float | None:
        """Mean over the other architectures of their means; None where there is none."""
        means = [score.mean for score in self.others.values()]
        return sum(means) / len(means) if means else None

    @property
    def worst(self) -> float | None:
        """The lowest mean among the other architectures."""
        return min((score.mean for score in self.others.values()), default=None)

    def metrics(self) -> dict[str, float]:
        """``<model>`` for every architecture, ``mean`` and ``worst`` over the others."""
        named = {name: score.mean for name, score in self.scores.items()}
        totals = {"mean": self.mean, "worst": self.worst}
        return {**named, **{name: value for name, value in totals.items() if value is not None}}


def parse_model(words: str) -> ModelConfig:
    """A pool's network from ``name`` or ``name:width``.

    Raises:
        ConfigError: the width is no number.
        UnknownNameError: no network has that name.
    """
    name, colon, width = words.partition(":")
    if colon and not width.isdecimal():
        raise ConfigError(f"model {words!r}: expected name or name:width, such as resnet18:32")
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return ModelConfig(name=name, width=int(width) if colon else WIDTHS.get(name))


def build_pool(
    models: Sequence[ModelConfig], own: ModelConfig, image_shape: tuple[int, int, int], num_classes: int
) -> tuple[dict[str, ModelConfig], dict[str, str]]:
    """The networks to score a set on, its own among them if the pool has that architecture.

    Args:
        models: of the pool; the one with the architecture of ``own`` is replaced by ``own``.
        own: what the set was distilled with.
        image_shape: channels, height, width.
        num_classes: length of one row of logits.

    Returns:
        Networks by name, and by name why others do not fit these images.

    Raises:
        ConfigError: an architecture is named twice.
    """
    fitting: dict[str, ModelConfig] = {}
    unfit: dict[str, str] = {}
    for model in models:
        if model.name in fitting or model.name in unfit:
            raise ConfigError(f"model {model.name!r} is named twice; a pool has each architecture once")
        try:
            build_model(model, image_shape, num_classes, torch.Generator())
        except (ConfigError, ShapeError) as error:
            unfit[model.name] = str(error)
            continue
        fitting[model.name] = own if model.name == own.name else model
    return fitting, unfit


@dataclass(frozen=True)
class Bench:
    """What every score of a comparison shares: real images, recipe, machine, seeds.

    Attributes:
        train: where random real images are drawn from.
        validation: real images on which learning rates are chosen; never test.
        config: the recipe of the sets that are scored.
        augmentation: the dataset's.
        compute: device, precision and compilation.
        generators: root of all evaluation seeds here.
        expected_evaluations: how many scores an architecture will get in all, by which the compiler's
            time is weighed.
    """

    train: ImageDataset
    validation: ImageDataset
    config: EvaluationConfig
    augmentation: AugmentationConfig
    compute: Compute
    generators: Generators
    expected_evaluations: int = 2

    def reseeded(self, *path: str) -> Bench:
        """The same bench with evaluation seeds of its own."""
        return replace(self, generators=self.generators.child(*path))

    def contender(self, name: str, model: ModelConfig, own: ModelConfig, ipc: int) -> Contender:
        """An architecture with its recipe: the set's own, with a chosen rate where that does not carry over.

        Args:
            name: key of the pool.
            model: the architecture.
            own: what the set was distilled with.
            ipc: images a class of the sets that will be scored.
        """
        if name == own.name:
            return Contender(name, model, self.config, is_own=True)
        return Contender(name, model, self._suited(model, ipc))

    def foreign_config(self) -> EvaluationConfig:
        """The recipe without what belongs to the network a set was learned with: step size and steps."""
        return self.config.model_copy(update={"use_learned_step_size": False, "use_schedule": False})

    def _suited(self, model: ModelConfig, ipc: int) -> EvaluationConfig:
        config = self.foreign_config()
        if model.name not in RATED:
            return config
        rate = choose_learning_rate(self, model, config, ipc)
        return config.model_copy(update={"lr": rate})

    def score(
        self, synthetic: SyntheticSet, real: ImageDataset, contender: Contender, num_seeds: int
    ) -> Score:
        """Score of a set on one architecture; two sets get the same evaluation seeds."""
        return evaluate(
            synthetic, real, contender.model, contender.config, self.augmentation, self.compute,
            self.seeds(contender), num_seeds=num_seeds, expected_evaluations=self.expected_evaluations,
        )  # fmt: skip

    def random_score(self, real: ImageDataset, ipc: int, contender: Contender, num_draws: int) -> Score:
        """Score of random real images on one architecture; all architectures get the same draws."""
        return random_baseline(
            self.train, real, ipc, contender.model, contender.config, self.augmentation, self.compute,
            self.generators.child("random"), num_draws=num_draws,
            expected_evaluations=self.expected_evaluations,
        )  # fmt: skip

    def seeds(self, contender: Contender) -> Generators:
        """The evaluation seeds of an architecture; those of the set's own are the root's."""
        return self.generators if contender.is_own else self.generators.child("architecture", contender.name)


def choose_learning_rate(bench: Bench, model: ModelConfig, config: EvaluationConfig, ipc: int) -> float:
    """The rate at which random real images teach an architecture best, on validation.

    A rate that suits one architecture may leave another untrained, above all one without a norm; a fixed
    rate would then measure the rate. The rates tried are half the recipe's own to four times of it. No
    synthetic image takes part, so the choice favours random images if anything; it is made on validation
    even where the scores are of test.

    Args:
        bench: images, machine and seeds.
        model: the architecture.
        config: the recipe.
        ipc: size of the sets that will be scored.
    """
    base = config.resolve().lr
    trial = bench.reseeded("learning-rate")
    means: dict[float, float] = {}
    for factor in RATE_FACTORS:
        rated = Contender(model.name, model, config.model_copy(update={"lr": base * factor}))
        means[base * factor] = trial.random_score(bench.validation, ipc, rated, NUM_RATE_DRAWS).mean
    return max(means, key=lambda rate: means[rate])
