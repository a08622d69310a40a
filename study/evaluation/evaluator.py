"""The one evaluator: train fresh networks on a set, classify real images, random real images beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.digests import dataset_digest, set_digest
from study.core.errors import ConfigError, DivergedError, ShapeError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.reporting import work
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.baselines import random_real_sets
from study.evaluation.metrics import headline_metric, predict, score_logits
from study.evaluation.recipes import EvaluationConfig
from study.evaluation.score_cache import cached_score
from study.evaluation.training import TrainingJob, should_compile, train_networks
from study.models.pool import ModelConfig

_VERSION = 1
"""Part of every cached score's key: raise it when the same key would give other scores."""
_OF_LEARNED_SETS = {"use_learned_step_size", "use_soft_labels", "use_schedule"}


@dataclass(frozen=True)
class Evaluator:
    """Scores sets: on which real images, with which networks and recipe, on which machine, from which seeds.

    Two sets that one evaluator scores are trained on by the same networks at the start, so their scores are
    paired. Scores are remembered, since trials share starting points and baselines.

    Attributes:
        train: real images that random ones are drawn from.
        real: real images to classify.
        model: the architecture.
        config: preset and what differs from it.
        augmentation: the dataset's; used where the recipe augments.
        compute: device, precision and compilation.
        generators: seed i is ``generators.child("evaluation", i)``.
        draws: draw i of random real images is ``draws.child("random", i)``, for its images and its network,
            whatever purpose the seeds have: there is one random baseline. By default a child of ``generators``.
        expected_scores: how many scores of sets like one of these will be asked for in all, by which the
            compiler's time is weighed.

    Example:
        >>> import study, torch
        >>> from study.core.device import Compute
        >>> from study.data.splits import DataConfig, load_splits
        >>> splits = load_splits("digits", DataConfig(), None)
        >>> recipe = EvaluationConfig(num_steps=20, num_seeds=2)
        >>> evaluator = Evaluator(splits.train, splits.validation, ModelConfig(width=8), recipe,
        ...                       splits.augmentation, Compute(torch.device("cpu")), Generators(0))
        >>> evaluator.random(ipc=1).n
        2
    """

    train: ImageDataset
    real: ImageDataset
    model: ModelConfig
    config: EvaluationConfig
    augmentation: AugmentationConfig
    compute: Compute
    generators: Generators
    draws: Generators | None = None
    expected_scores: int = 1
    _known: dict[tuple[object, ...], Score] = field(default_factory=dict, repr=False, compare=False)

    def reseeded(self, *purpose: str | int) -> Evaluator:
        """The same with seeds of its own: scores for one purpose never share luck with those for another.

        Random real images are no such score: they keep their draws.
        """
        return replace(self, generators=self.generators.child(*purpose), draws=self.baseline_draws)

    def changed(self, **changes: Any) -> Evaluator:
        """The same with other fields, such as ``real`` or ``model``; nothing is remembered across."""
        return replace(self, **changes, _known={})

    def with_recipe(self, **changes: Any) -> Evaluator:
        """The same with settings laid over the recipe."""
        return self.changed(config=self.config.model_copy(update=changes))

    def score(self, synthetic: SyntheticSet, num_seeds: int | None = None) -> Score:
        """Train fresh networks on a set and score each once, after its last step.

        More seeds keep the scores of the first ones (up to rounding, where they are stacked differently). A
        network that diverges scores chance. A set that was learned together with its steps is trained on by
        replaying these, in float32 as they were learned, unless the recipe says otherwise; where they belong to
        one network the score is a single value.

        Args:
            synthetic: what to train on; a whole real dataset (:func:`study.evaluation.baselines.full_set`) is one too.
            num_seeds: networks to train; by default the configured number.

        Returns:
            One value a seed; balanced accuracy where the classes of the real images are unbalanced.

        Raises:
            DivergedError: an image or a soft label is not finite.
            ShapeError: set and real images differ in shape or classes, or one of them is empty.
        """
        count = self.config.num_seeds if num_seeds is None else num_seeds
        key = self._key(synthetic, count)
        if key not in self._known:
            self._known[key] = self._train(synthetic, self.seeds(count), count * self.expected_scores)
        return self._known[key]

    def extend(self, synthetic: SyntheticSet, score: Score, num_seeds: int) -> Score:
        """A score of this evaluator with further seeds, up to so many in all; the first ones are not trained again."""
        key = self._key(synthetic, num_seeds)
        if key not in self._known:
            others = self.seeds(num_seeds)[score.n :]
            if not others or _belongs_to_one_network(self.job(synthetic)):
                return score
            more = self._train(synthetic, others, num_seeds * self.expected_scores)
            self._known[key] = join_scores([score, more])
        return self._known[key]

    def random(self, ipc: int, num_draws: int | None = None) -> Score:
        """Score of random real images under the same recipe: a fresh draw for every seed.

        No synthetic image takes part, so the score is kept in the user's cache under everything that determines
        it: the drawn and the classified images themselves, network, recipe and seeds. Searches of any method
        that share these train it once. There are as many draws as seeds by default.

        Raises:
            ConfigError: ``ipc`` or ``num_draws`` is impossible.
            DataError: the cache folder cannot be written.
        """
        count = self.config.num_seeds if num_draws is None else num_draws
        known = ("random", ipc, self.baseline_draws.seed, count)
        if known not in self._known:
            with work("random real images", count):
                self._known[known] = self._cached_random(self.random_sets(ipc, count))
        return self._known[known]

    def random_sets(self, ipc: int, num_draws: int) -> list[SyntheticSet]:
        """The draws of random real images that :meth:`random` trains on."""
        return random_real_sets(self.train, ipc, num_draws, self.baseline_draws)

    def seeds(self, num_seeds: int | None = None) -> list[Generators]:
        """The families of generators of the first evaluation seeds, unused."""
        return evaluation_seeds(self.generators, self.config.num_seeds if num_seeds is None else num_seeds)

    def job(self, synthetic: SyntheticSet) -> TrainingJob:
        """What the recipe makes of a set: targets, learning rate, augmentation and steps chosen.

        Raises:
            ConfigError: the learned step size is to be used, and is not a positive number.
        """
        recipe, compute, augmentation = self.config.resolve(), self.compute, self.augmentation
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
            synthetic.images.detach(), targets.detach(), synthetic.num_classes, self.model, recipe,
            recipe.lr if learned is None else learned, augmentation, compute, schedule,
        )  # fmt: skip

    @property
    def baseline_draws(self) -> Generators:
        """The family that draws of random real images belong to."""
        return self.generators.child("random") if self.draws is None else self.draws

    def _key(self, synthetic: SyntheticSet, count: int) -> tuple[object, ...]:
        """What decides a score: of the set, only what the recipe uses; trials may share the rest of a start."""
        recipe = self.config.resolve()
        used = replace(
            synthetic,
            logits=synthetic.logits if recipe.use_soft_labels else None,
            step_size=synthetic.step_size if recipe.use_learned_step_size else None,
            schedule=synthetic.schedule if recipe.use_schedule else None,
        )
        return set_digest(used), self.generators.seed, count

    def _train(self, synthetic: SyntheticSet, seeds: Sequence[Generators], expected_networks: int) -> Score:
        started = time.perf_counter()
        check_scorable(synthetic, self.real)
        job = self.job(synthetic)
        real = self.real.to(self.compute.device)
        if _belongs_to_one_network(job):
            seeds = seeds[:1]
        with work("training networks", len(seeds)):
            networks = train_networks(job, seeds, expected_networks)
            rows = [score_logits(predict(network, real.images, self.compute), real) for network in networks]
        return score_rows(rows, real, time.perf_counter() - started)

    def _cached_random(self, sets: Sequence[SyntheticSet]) -> Score:
        recipe, draws = self.config.resolve(), self.baseline_draws
        # As often as they are drawn, whoever asks: the baseline of a search and of an evaluation is one.
        expected = len(sets)
        key = {
            "version": _VERSION,
            "drawn": [set_digest(drawn) for drawn in sets],
            "classified": dataset_digest(self.real),
            "model": self.model.model_dump(mode="json"),
            # Random images have neither soft labels nor step sizes, so what a recipe does with them is all one.
            "recipe": recipe.model_dump(mode="json", exclude=_OF_LEARNED_SETS),
            "augmentation": self.augmentation.model_dump(mode="json") if recipe.augment else None,
            "seed": draws.seed,
            "device": self.compute.device.type,
            "precision": str(self.compute.dtype).removeprefix("torch."),
            "compiled": should_compile(self.job(sets[0]), expected),
        }

        def train_all() -> Score:
            there = [self.changed(generators=draws.child("random", index)) for index in range(len(sets))]
            return join_scores(
                [one._train(drawn, one.seeds(1), expected) for one, drawn in zip(there, sets, strict=True)]
            )

        return cached_score("random-images", key, train_all)


def _belongs_to_one_network(job: TrainingJob) -> bool:
    """Whether the set's steps were learned for a single network, so that training has a single outcome."""
    return job.schedule is not None and job.schedule.network_seed is not None


def evaluation_seeds(generators: Generators, num_seeds: int) -> list[Generators]:
    """The families of generators of the first evaluation seeds, unused."""
    if num_seeds < 1:
        raise ShapeError(f"num_seeds = {num_seeds}: a score needs at least 1 evaluation seed")
    return [generators.child("evaluation", index) for index in range(num_seeds)]


def score_rows(rows: Sequence[Mapping[str, float]], real: ImageDataset, seconds: float = 0.0) -> Score:
    """One score from the metrics of each network; the headline is that of the real images' classes."""
    metric = headline_metric(real)
    columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
    return Score(metric, columns.pop(metric), columns, seconds)


def join_scores(scores: Sequence[Score]) -> Score:
    """One score whose seeds are those of all scores, in their order, with the further metrics that all have."""
    shared = [name for name in scores[0].extra if all(name in score.extra for score in scores)]
    extra = {name: tuple(value for score in scores for value in score.extra[name]) for name in shared}
    values = tuple(value for score in scores for value in score.values)
    return Score(scores[0].metric, values, extra, sum(score.seconds for score in scores))


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
