"""The cross-architecture score of a trial: a small pool, on validation, with what trials share kept."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from study.core.errors import ConfigError
from study.core.records import SyntheticSet
from study.evaluation.architectures import Bench, Contender, CrossScore, build_pool, parse_model
from study.models.pool import ModelConfig
from study.runs.config.configure import RunConfig

__all__ = ["TrialPool", "build_trial_pool", "check_cross_models"]


@dataclass(frozen=True, eq=False)
class TrialPool:
    """The architectures that every trial of a run is scored on beside its own.

    Learning rates and the scores of random real images are computed once for all trials.

    Attributes:
        bench: real images, recipe and seeds.
        pool: networks by name, without the one that sets are distilled with.
        own: that one.
        ipc: images a class.
        num_seeds: fresh networks of each architecture for one score.
    """

    bench: Bench
    pool: dict[str, ModelConfig]
    own: ModelConfig
    ipc: int
    num_seeds: int

    @functools.cached_property
    def contenders(self) -> list[Contender]:
        """Each architecture with its learning rate; where one is chosen, with random real images on validation."""
        return [self.bench.contender(name, model, self.own, self.ipc) for name, model in self.pool.items()]

    @functools.cached_property
    def random(self) -> CrossScore:
        """Random real images on the pool."""
        scores = {
            contender.name: self.bench.random_score(
                self.bench.validation, self.ipc, contender, self.num_seeds
            )
            for contender in self.contenders
        }
        return CrossScore(scores, self.own.name)

    def score(self, synthetic: SyntheticSet, purpose: str) -> CrossScore:
        """A set on the pool; each purpose has its own evaluation seeds."""
        bench = self.bench.reseeded(purpose)
        return CrossScore(
            {
                contender.name: bench.score(synthetic, bench.validation, contender, self.num_seeds)
                for contender in self.contenders
            },
            self.own.name,
        )

    def time_networks(self, synthetic: SyntheticSet) -> dict[str, float]:
        """Seconds of one network of each architecture, at the recipe's own learning rate."""
        bench, config = self.bench.reseeded("plan"), self.bench.foreign_config()
        return {
            name: bench.score(synthetic, bench.validation, Contender(name, model, config), 1).seconds
            for name, model in self.pool.items()
        }

    def metrics(self, cross: CrossScore) -> dict[str, float]:
        """What a trial records."""
        metrics = {f"cross/{name}": value for name, value in cross.metrics().items()}
        seconds = sum(score.seconds for score in cross.scores.values())
        random = self.random.mean
        assert random is not None
        return {**metrics, "random/cross_mean": random, "cost/cross_seconds": seconds}


def check_cross_models(config: RunConfig) -> None:
    """Refuse a pool that cannot be built, before anything is.

    Raises:
        ConfigError: an unknown network, one named twice, or an objective without another architecture.
    """
    models = [parse_model(words) for words in config.search.cross_models]
    others = {model.name for model in models} - {config.model.name}
    if "cross-arch" in config.search.objectives and not (others and config.search.num_cross_seeds):
        raise ConfigError(
            f"search.objective = {config.search.objective!r} needs search.num_cross_seeds >= 1 and an architecture "
            f"other than {config.model.name!r} in search.cross_models"
        )


def build_trial_pool(
    config: RunConfig, bench: Bench, image_shape: tuple[int, int, int], num_classes: int
) -> TrialPool | None:
    """The pool of a run, or None where it asks for no cross-architecture score.

    Raises:
        ConfigError: a network does not fit the images.
    """
    search = config.search
    if not search.num_cross_seeds:
        return None
    models = [parse_model(words) for words in search.cross_models]
    models = [model for model in models if model.name != config.model.name]
    pool, unfit = build_pool(models, config.model, image_shape, num_classes)
    for name, reason in unfit.items():
        raise ConfigError(f"search.cross_models has {name}: {reason}")
    return TrialPool(bench, pool, config.model, config.ipc, search.num_cross_seeds) if pool else None
