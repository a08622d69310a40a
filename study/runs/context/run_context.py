"""The loaded data and the machine of one run, and the evaluators its sets are scored by."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

from study.core.clock import Clock
from study.core.device import Compute, resolve_compute
from study.core.errors import ConfigError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.reporting import work
from study.core.seeding import Generators
from study.data.splits import DataSplits, load_splits
from study.evaluation.architectures import ArchitecturePool, CrossScore, build_pool, parse_model
from study.evaluation.evaluator import Evaluator
from study.evaluation.full_data import FullData, full_data_recipe
from study.methods.base import Task
from study.runs.config.configure import RunConfig
from study.runs.config.counting import DataSize
from study.runs.config.sizing import fit
from study.runs.registration.fitness import Fitness, judge
from study.sets.pixels import PixelRecord


@dataclass
class RunContext:
    """Everything trials share: real images on the device, named generators, evaluators, the clock of the run.

    ``config`` is the one that was asked for, with everything chosen that it left to its budget.
    """

    config: RunConfig
    splits: DataSplits
    compute: Compute
    train: ImageDataset
    validation: ImageDataset
    generators: Generators
    clock: Clock = field(default_factory=Clock)

    def task(self, config: RunConfig) -> Task:
        """What a method may see under one trial's configuration."""
        return Task(self.train, config.ipc, config.model, self.splits.augmentation, self.compute)

    def distill_generators(self) -> Generators:
        """The same for every trial: trials then differ by their parameters alone, and replay anywhere."""
        return self.generators.child("distill")

    def evaluator(self, *purpose: str, seed: int | None = None, expected_scores: int = 1) -> Evaluator:
        """An evaluator on validation, with seeds that belong to a purpose; ``seed`` is their root, if not the run's.

        Random real images are drawn from the run's seed alone.
        """
        root = self.generators if seed is None else Generators(seed, self.compute.device)
        return Evaluator(
            self.train, self.validation, self.config.model, self.config.evaluation, self.splits.augmentation,
            self.compute, root.child(*purpose) if purpose else root, self.generators.child("random images"),
            expected_scores,
        )  # fmt: skip

    @functools.cached_property
    def _trial_evaluator(self) -> Evaluator:
        search = self.config.search
        expected = search.num_trials * (len(search.rungs) + 1) + search.num_finalists + 4
        return self.evaluator(expected_scores=expected if self.config.space else 4)

    @functools.cached_property
    def _brief_evaluator(self) -> Evaluator:
        """As the search limits its updates."""
        full, limit = self._trial_evaluator, self.config.search.num_score_steps
        num_steps = full.config.resolve().steps(self.config.ipc * self.splits.num_classes)
        return full if limit is None or limit >= num_steps else full.with_recipe(num_steps=limit)

    @property
    def scores_are_brief(self) -> bool:
        """Whether trials are scored by another recipe than finalists and test."""
        return self._brief_evaluator is not self._trial_evaluator

    def scorer(self, purpose: str) -> Evaluator:
        """The evaluator of all trials, on validation; each purpose (rung, trial, finalist) has its own seeds.

        Rungs and trials may be limited in their updates. A set that was scored for the same purpose before, such
        as a shared starting point, is not trained on again.
        """
        brief = purpose in ("rung", "trial")
        return (self._brief_evaluator if brief else self._trial_evaluator).reseeded("score", purpose)

    def test_scores(self, synthetic: SyntheticSet, reason: str, num_seeds: int) -> tuple[Score, Score]:
        """Open the test set: the score of a chosen set, and of random real images beside it."""
        test = self.splits.test.open(reason).to(self.compute.device)
        scorer = self.scorer("test").changed(real=test)
        with self.clock.part("test"), work("scoring on test", num_seeds):
            score = scorer.score(synthetic, num_seeds)
        with self.clock.part("baselines"):
            return score, scorer.random(self.config.ipc, self.config.search.num_random_seeds)

    def random(self) -> Score:
        """Random real images at the same IPC under the recipe, on validation: the one baseline of the run."""
        with self.clock.part("baselines"):
            return self._trial_evaluator.random(self.config.ipc, self.config.search.num_random_seeds)

    def num_random(self) -> dict[str, int]:
        """Draws of random real images by architecture: the set's own, and those that a search scores on."""
        search = self.config.search
        names = [self.config.model.name, *(parse_model(words).name for words in search.cross_models)]
        return dict.fromkeys(names, search.num_random_seeds)

    def cross_score(self, synthetic: SyntheticSet, purpose: str) -> CrossScore | None:
        """The score on other architectures; None where the run asks for none."""
        if self.pool is None:
            return None
        with self.clock.part("baselines"):
            _ = self.pool.members  # random images choose their learning rates, once
        with self.clock.part("cross"):
            return self.pool.score(synthetic, purpose)

    def cross_random(self) -> CrossScore | None:
        """Random real images on other architectures; None where the run asks for none."""
        with self.clock.part("baselines"):
            return None if self.pool is None else self.pool.random

    def fitness(self, synthetic: SyntheticSet, cross: CrossScore | None, relative_change: float) -> Fitness:
        """What speaks against a set, beside random real images on other architectures."""
        random = self.cross_random()
        return judge(
            {} if cross is None else cross.metrics(),
            {} if random is None else random.metrics(),
            PixelRecord.of(synthetic.images, self.splits.preprocessing),
            relative_change,
            self.config.search.serves,
        )

    @functools.cached_property
    def pool(self) -> ArchitecturePool | None:
        """The other architectures that trials are scored on; None where the run asks for none.

        Raises:
            ConfigError: a network does not fit the images.
        """
        search, own = self.config.search, self.config.model
        models = [model for model in map(parse_model, search.cross_models) if model.name != own.name]
        if not search.num_cross_seeds or not models:
            return None
        fitting, unfit = build_pool(models, own, self.splits.image_shape, self.splits.num_classes)
        for name, reason in unfit.items():
            raise ConfigError(f"search.cross_models has {name}: {reason}")
        evaluator = self.evaluator("score", "cross", expected_scores=search.num_trials + 2)
        return ArchitecturePool(
            evaluator, fitting, self.config.ipc, search.num_cross_seeds, self.validation, self.num_random()
        )

    @functools.cached_property
    def full_data(self) -> FullData:
        """All real training images, for the architecture that sets are distilled with."""
        # How a set's images are augmented changes neither the real ones nor, without augmentation, their training.
        data = self.config.data.model_dump(mode="json", exclude={"augmentation", "augmentation_ranges"})
        source = {"fingerprint": self.splits.fingerprint, "data": data}
        return FullData(self.evaluator("full-data"), source, full_data_recipe(len(self.train)))


def open_context(config: RunConfig, data_root: Path | None) -> RunContext:
    """Resolve the machine and load the data.

    Raises:
        StudyError: the device or the data is not there, a class has fewer images than the IPC, or the
            architectures to score on cannot be built.
    """
    clock = Clock()
    _check_cross_models(config)
    compute = resolve_compute(config.compute)
    with clock.part("loading"):
        splits = load_splits(config.dataset, config.data, data_root, min_per_class=config.ipc)
        config = fit(config, DataSize.of(splits))
        train, validation = splits.train.to(compute.device), splits.validation.to(compute.device)
    generators = Generators(config.seed, compute.device)
    return RunContext(config, splits, compute, train, validation, generators, clock)


def _check_cross_models(config: RunConfig) -> None:
    """Refuse a pool that cannot be built, before anything is.

    Raises:
        ConfigError: an unknown network, one named twice, or an objective without another architecture.
    """
    search = config.search
    models = [parse_model(words) for words in search.cross_models]
    others = {model.name for model in models} - {config.model.name}
    if "cross-arch" in search.objectives and not (others and search.num_cross_seeds):
        raise ConfigError(
            f"search.objective = {search.objective!r} needs search.num_cross_seeds >= 1 and an architecture "
            f"other than {config.model.name!r} in search.cross_models"
        )
