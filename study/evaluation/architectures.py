"""Scores of a set on several architectures, at a learning rate that suits each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from study.core.device import num_cores
from study.core.errors import ConfigError, ShapeError, unknown_name
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.reporting import work
from study.evaluation.evaluator import Evaluator
from study.evaluation.recipes import EvaluationConfig
from study.models.pool import MODELS, ModelConfig, build_model

Result = TypeVar("Result")

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
class PoolModel:
    """An architecture with the recipe it is trained by.

    Attributes:
        config: the set's own recipe, with a learning rate that suits the architecture.
        is_own: whether the set was distilled with it; it then stays out of mean and worst.
    """

    name: str
    model: ModelConfig
    config: EvaluationConfig
    is_own: bool = False


@dataclass(frozen=True)
class CrossScore:
    """Scores by architecture, in the order of the pool, that the set was distilled with (``own``) included."""

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

    @property
    def num_seeds(self) -> int:
        """Networks of each architecture."""
        return min(score.n for score in self.scores.values())

    def stds(self) -> dict[str, float]:
        """Sample deviation over the networks of every architecture."""
        return {name: score.std for name, score in self.scores.items()}

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
    """The networks to score a set on.

    Args:
        models: of the pool; one with the architecture of ``own`` is replaced by ``own``.
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


@dataclass(frozen=True, eq=False)
class ArchitecturePool:
    """The architectures that sets of a kind are scored on; learning rates and random real images are worked out once.

    Attributes:
        evaluator: of the architecture that sets are distilled with: real images, recipe, machine, seeds.
        models: networks by name; one may be the own architecture.
        ipc: images a class of the sets.
        num_seeds: fresh networks of each architecture for one score.
        validation: real images by which learning rates are chosen; never test.
        num_random: draws of random real images by architecture; ``num_seeds`` where it is not named.
    """

    evaluator: Evaluator
    models: Mapping[str, ModelConfig]
    ipc: int
    num_seeds: int
    validation: ImageDataset
    num_random: Mapping[str, int] = field(default_factory=dict)

    @property
    def own(self) -> str:
        """Name of the architecture that sets are distilled with."""
        return self.evaluator.model.name

    @property
    def num_networks(self) -> int:
        """Networks that one score on all architectures trains."""
        return len(self.models) * self.num_seeds

    @functools.cached_property
    def members(self) -> dict[str, PoolModel]:
        """Each architecture with its learning rate."""
        return {name: self.member(name) for name in self.models}

    @functools.cached_property
    def random(self) -> CrossScore:
        """Random real images on every architecture; all get the same draws."""
        members = self.members
        count = sum(map(self._num_random, members))
        with work(f"random real images on {', '.join(members)}", count):
            return CrossScore({name: self.random_on(member) for name, member in members.items()}, self.own)

    def score(self, synthetic: SyntheticSet, purpose: str) -> CrossScore:
        """A set on every architecture; each purpose has its own evaluation seeds."""
        members = self.members
        with work(f"scoring on {', '.join(members)}", self.num_networks):
            scores = {name: self.score_on(member, synthetic, purpose) for name, member in members.items()}
        return CrossScore(scores, self.own)

    def member(self, name: str) -> PoolModel:
        """An architecture with its recipe: the set's own, with a chosen rate where that does not carry over."""
        model, own = self.models[name], self.evaluator.config
        if name == self.own:
            return PoolModel(name, model, own, is_own=True)
        config = foreign_recipe(own)
        if name in RATED:
            rate = choose_learning_rate(self.evaluator.changed(real=self.validation), model, config, self.ipc)
            config = config.model_copy(update={"lr": rate})
        return PoolModel(name, model, config)

    def score_on(self, member: PoolModel, synthetic: SyntheticSet, purpose: str | None = None) -> Score:
        """A set on one architecture; two sets get the same evaluation seeds."""
        evaluator = self.evaluator if purpose is None else self.evaluator.reseeded(purpose)
        return _on(evaluator, member).score(synthetic, self.num_seeds)

    def random_on(self, member: PoolModel) -> Score:
        """Random real images on one architecture."""
        return _on(self.evaluator, member).random(self.ipc, self._num_random(member.name))

    def _num_random(self, name: str) -> int:
        return self.num_random.get(name, self.num_seeds)

    def side_by_side(self, work: Callable[[str], Result]) -> dict[str, Result]:
        """What ``work`` gives for every name, in their order.

        Where the recipe's threads leave cores idle, architectures are worked on side by side; the results are the
        same. The first error, or Ctrl-C, lets no further work begin.
        """
        idle = self.evaluator.compute.device.type == "cpu"
        num_workers = max(1, num_cores() // torch.get_num_threads()) if idle else 1
        if num_workers == 1:
            return {name: work(name) for name in self.models}
        with ThreadPoolExecutor(num_workers) as workers:
            futures = {name: workers.submit(work, name) for name in self.models}
            try:
                return {name: future.result() for name, future in futures.items()}
            except BaseException:
                workers.shutdown(wait=False, cancel_futures=True)
                raise


def foreign_recipe(config: EvaluationConfig) -> EvaluationConfig:
    """A recipe without what belongs to the network a set was learned with: step size and steps."""
    return config.model_copy(update={"use_learned_step_size": False, "use_schedule": False})


def _on(evaluator: Evaluator, member: PoolModel) -> Evaluator:
    """The evaluator of one architecture: networks from seeds of its own, the same draws of random images."""
    own = evaluator.generators
    return evaluator.changed(
        model=member.model,
        config=member.config,
        generators=own if member.is_own else own.child("architecture", member.name),
        draws=evaluator.baseline_draws,
    )


def choose_learning_rate(
    evaluator: Evaluator, model: ModelConfig, config: EvaluationConfig, ipc: int
) -> float:
    """The rate at which random real images teach an architecture best, of half the recipe's own to four times it.

    A rate that suits one architecture may leave another untrained, above all one without a norm; a fixed
    rate would then measure the rate. No synthetic image takes part, so the choice favours random images if
    anything; the evaluator classifies validation images even where the scores are of test.
    """
    base = config.resolve().lr
    # By the baseline's seeds, so that a search and an evaluation choose the same rate.
    seeds = evaluator.baseline_draws.child("learning-rate")
    rated = evaluator.changed(model=model, generators=seeds, draws=None)
    means = {}
    with work(f"learning rate of {model.name}", num_rate_networks(model.name)):
        for rate in (base * factor for factor in RATE_FACTORS):
            tried = rated.changed(config=config.model_copy(update={"lr": rate}))
            means[rate] = tried.random(ipc, NUM_RATE_DRAWS).mean
    return max(means, key=lambda rate: means[rate])
