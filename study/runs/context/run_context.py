"""The loaded data and the machine of one run, and the ways a set is scored in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from study.core.device import Compute, resolve_compute
from study.core.digests import set_digest
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.splits import DataSplits, load_splits
from study.evaluation.architectures import Bench
from study.evaluation.baselines import random_baseline
from study.evaluation.protocol import evaluate
from study.methods.base import Task
from study.runs.config.configure import RunConfig
from study.runs.context.trial_pool import TrialPool, build_trial_pool, check_cross_models

__all__ = ["RunContext", "open_context"]


@dataclass
class RunContext:
    """Everything trials share: real images on the device, named generators, scores already computed."""

    config: RunConfig
    splits: DataSplits
    compute: Compute
    train: ImageDataset
    validation: ImageDataset
    generators: Generators
    cross: TrialPool | None = None
    _scores: dict[tuple[str, str, int], Score] = field(default_factory=dict, repr=False)

    def task(self, config: RunConfig) -> Task:
        """What a method may see under one trial's configuration."""
        return Task(self.train, config.ipc, config.model, self.splits.augmentation, self.compute)

    def distill_generators(self) -> Generators:
        """The same for every trial: trials then differ by their parameters alone, and replay anywhere."""
        return self.generators.child("distill")

    def score(self, synthetic: SyntheticSet, purpose: str, num_seeds: int) -> Score:
        """Score a set on validation with fresh networks; each purpose has its own evaluation seeds.

        A set that was scored for the same purpose before, such as a shared starting point, is not
        trained on again.
        """
        key = (set_digest(synthetic), purpose, num_seeds)
        if key not in self._scores:
            self._scores[key] = self._evaluate(synthetic, self.validation, purpose, num_seeds)
        return self._scores[key]

    def random_score(self, purpose: str, num_seeds: int) -> Score:
        """Random real images at the same IPC under the same recipe, on validation."""
        key = ("random", purpose, num_seeds)
        if key not in self._scores:
            self._scores[key] = self._random(self.validation, purpose, num_seeds)
        return self._scores[key]

    def score_baselines(self) -> Score:
        """Random real images on validation for all trials to come, also on the other architectures.

        Trials then pay for their own sets alone, the first one too.
        """
        if self.cross is not None:
            _ = self.cross.random
        return self.random_score("trial", self.config.search.num_random_seeds)

    def test_scores(self, synthetic: SyntheticSet, reason: str, num_seeds: int) -> tuple[Score, Score]:
        """Open the test set: the score of a chosen set, and of random real images beside it."""
        test = self.splits.test.open(reason).to(self.compute.device)
        return (
            self._evaluate(synthetic, test, "test", num_seeds),
            self._random(test, "test", num_seeds),
        )

    def _evaluate(self, synthetic: SyntheticSet, real: ImageDataset, purpose: str, num_seeds: int) -> Score:
        return evaluate(
            synthetic.to(self.compute.device),
            real,
            self.config.model,
            self.config.evaluation,
            self.splits.augmentation,
            self.compute,
            self.generators.child("score", purpose),
            num_seeds=num_seeds,
            expected_evaluations=self._expected_evaluations(),
        )

    def _random(self, real: ImageDataset, purpose: str, num_seeds: int) -> Score:
        return random_baseline(
            self.train,
            real,
            self.config.ipc,
            self.config.model,
            self.config.evaluation,
            self.splits.augmentation,
            self.compute,
            self.generators.child("score", purpose, "random"),
            num_draws=num_seeds,
            expected_evaluations=self._expected_evaluations(),
        )

    def _expected_evaluations(self) -> int:
        """Roughly how many scores the run will ask for, so that the evaluator can weigh compilation."""
        search = self.config.search
        if not self.config.space:
            return 4
        return search.num_trials * (len(search.rungs) + 1) + search.num_finalists + 4


def open_context(config: RunConfig, data_root: Path | None) -> RunContext:
    """Resolve the machine and load the data.

    Raises:
        StudyError: the device or the data is not there, a class has fewer images than the IPC, or the
            architectures to score on cannot be built.
    """
    check_cross_models(config)
    compute = resolve_compute(config.compute)
    splits = load_splits(config.dataset, config.data, data_root, min_per_class=config.ipc)
    train, validation = splits.train.to(compute.device), splits.validation.to(compute.device)
    generators = Generators(config.seed, compute.device)
    bench = Bench(
        train, validation, config.evaluation, splits.augmentation, compute,
        generators.child("score", "cross"), config.search.num_trials + 2,
    )  # fmt: skip
    return RunContext(
        config=config,
        splits=splits,
        compute=compute,
        train=train,
        validation=validation,
        generators=generators,
        cross=build_trial_pool(config, bench, splits.image_shape, splits.num_classes),
    )
