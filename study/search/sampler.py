"""A sampler whose proposals depend on the seed and the trial number, not on the process that runs the trial.

Optuna seeds a sampler when it is made, so a resumed search would draw its first numbers again. Here each
trial is sampled with a seed derived from its number: an interrupted search, once resumed, proposes what it
would have proposed undisturbed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from study.core.seeding import derive_seed
from study.search.config import SearchConfig

TRIAL_NUMBER = "study.trial_number"


def trial_number(trial: FrozenTrial | optuna.Trial) -> int:
    """Position of a trial in its search, from 0; a repeated trial keeps the number of its first attempt."""
    return int(trial.user_attrs.get(TRIAL_NUMBER, trial.number))


class SeededSampler(BaseSampler):
    """Delegates to Optuna's own samplers, seeded anew for every trial number."""

    def __init__(self, config: SearchConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._inner = self._build(0)

    def _build(self, number: int) -> BaseSampler:
        seed = derive_seed(self._seed, "sampler", number) % 2**32
        startup = self._config.num_startup_trials
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._config.sampler == "gp":
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
            if self._config.sampler == "random":
                return optuna.samplers.RandomSampler(seed=seed)
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Give the trial the next number, unless it repeats an earlier one, and seed by it."""
        number = trial.user_attrs.get(TRIAL_NUMBER)
        if number is None:
            others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            number = 1 + max(
                (trial_number(t) for t in others if t.state is not TrialState.WAITING), default=-1
            )
            study._storage.set_trial_user_attr(trial._trial_id, TRIAL_NUMBER, number)
        self._inner = self._build(number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the wrapped sampler."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the wrapped sampler."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the wrapped sampler."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the wrapped sampler."""
        self._inner.after_trial(study, trial, state, values)
