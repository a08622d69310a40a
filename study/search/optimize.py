"""One search: created or found by name, run trial by trial, resumed without losing a finished trial."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from study.core.errors import DivergedError, SearchError
from study.core.spaces import Choice, Parameter, Space
from study.search.config import SearchConfig
from study.search.pruning import build_pruner, report
from study.search.records import DIVERGED, TrialRecord, choose_finalists, front_numbers, outcome_of
from study.search.sampler import TRIAL_NUMBER, SeededSampler, trial_number
from study.search.storage import owner_is_dead, owner_tag

Pruned = optuna.TrialPruned
"""Raised by an objective that :meth:`TrialHandle.report` told to stop."""

OWNER = "study.owner"


class TrialHandle:
    """What an objective gets: its parameters, and whom to report to."""

    def __init__(self, trial: optuna.Trial, params: Mapping[str, Any], config: SearchConfig) -> None:
        self._trial = trial
        self._config = config
        # Asked of the storage: the trial was read before the sampler gave it its number.
        self.number = trial_number(trial.storage.get_trial(trial._trial_id))
        self.params = dict(params)

    def report(self, value: float, percent: int) -> bool:
        """Report a validation score at a rung; True means: raise :data:`Pruned`."""
        return report(self._trial, self._config, value, percent)

    def note(self, key: str, value: Any) -> None:
        """Keep a plain value with the trial, for a later process."""
        self._trial.set_user_attr(key, value)


Objective = Callable[[TrialHandle], float | Sequence[float]]
"""Gives the value of the objective, or the values of several in the order of the configuration."""


class Search:
    """A search in its storage."""

    def __init__(self, optuna_study: optuna.Study, config: SearchConfig, space: Space, seed: int) -> None:
        self._study = optuna_study
        self._config = config
        self._space = space
        self._study.sampler = SeededSampler(config, seed)
        self._study.pruner = build_pruner(config)

    @property
    def name(self) -> str:
        """Name in the storage, by which it is resumed."""
        return self._study.study_name

    @property
    def optuna_study(self) -> optuna.Study:
        """The study itself, for figures."""
        return self._study

    def note(self, key: str, value: Any) -> None:
        """Keep a plain value with the search, for a later process."""
        self._study.set_user_attr(key, value)

    def notes(self) -> dict[str, Any]:
        """Everything kept with :meth:`note`."""
        return dict(self._study.user_attrs)

    def records(self) -> list[TrialRecord]:
        """Every trial that was started, by number; a repeated trial appears once, as its last attempt."""
        latest: dict[int, TrialRecord] = {}
        front = front_numbers(self._study)
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state is not TrialState.WAITING:
                on_front = None if front is None else trial.number in front
                latest[trial_number(trial)] = TrialRecord.of(trial, on_front)
        return [latest[number] for number in sorted(latest)]

    def best(self, count: int) -> list[TrialRecord]:
        """The best complete trials, best first, an earlier one before its equals; see :func:`choose_finalists`.

        Those that are fit to be ``best`` come before all others.
        """
        complete = [record for record in self.records() if record.value is not None]
        if len(self._config.objectives) > 1:
            return choose_finalists([record for record in complete if record.on_front], count)
        return sorted(complete, key=lambda record: (not record.fit, -(record.value or 0.0), record.number))[
            :count
        ]

    def propose(self, params: Mapping[str, Any]) -> None:
        """Have these values tried first if nothing has run yet; each has to lie in its range."""
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(dict(params))

    def recover(self) -> list[int]:
        """Queue again the trials that an earlier process left unfinished; gives their numbers."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            owner = trial.user_attrs.get(OWNER)
            if trial.state is TrialState.RUNNING and owner and owner_is_dead(owner):
                self._study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
        trials = self._study.get_trials(deepcopy=False)
        settled = {
            trial_number(t) for t in trials if t.state is TrialState.WAITING or outcome_of(t) != "INTERRUPTED"
        }
        lost = {trial_number(t): t for t in trials if trial_number(t) not in settled}
        for number, trial in sorted(lost.items()):
            self._study.enqueue_trial(trial.params, user_attrs={TRIAL_NUMBER: number})
        return sorted(lost)

    def optimize(self, objective: Objective, num_trials: int, timeout_seconds: float | None = None) -> None:
        """Run trials until that many count, or until the time is up (the running one is finished).

        A :class:`DivergedError` ends its trial and the search goes on; any other error, and Ctrl-C, leaves
        the trial interrupted, to be repeated, and is raised.
        """
        deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        while sum(record.counts for record in self.records()) < num_trials and time.monotonic() < deadline:
            self._study.optimize(
                lambda trial: self._run(objective, trial), n_trials=1, catch=(DivergedError,)
            )

    def _run(self, objective: Objective, trial: optuna.Trial) -> float | Sequence[float]:
        trial.set_user_attr(OWNER, owner_tag())
        try:
            params = {key: _suggest(trial, key, parameter) for key, parameter in self._space.items()}
            return objective(TrialHandle(trial, params, self._config))
        except DivergedError as error:
            trial.set_user_attr(DIVERGED, str(error))
            raise


def create_search(storage: optuna.storages.BaseStorage, name: str | None, prefix: str, config: SearchConfig,
                  space: Space, seed: int) -> Search:  # fmt: skip
    """Make a new search; without a name it gets the first free one of ``prefix-1``, ``prefix-2``, ...

    Raises:
        SearchError: a search of that name exists.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    taken = set(optuna.get_all_study_names(storage))
    free = (text for number in itertools.count(1) if (text := f"{prefix}-{number}") not in taken)
    directions = [optuna.study.StudyDirection.MAXIMIZE] * len(config.objectives)
    for candidate in [name] if name else free:
        # Another process may just have taken it.
        with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            created = optuna.create_study(storage=storage, study_name=candidate, directions=directions)
            return Search(created, config, space, seed)
    raise SearchError(
        f"a search named {name!r} exists; continue it with --resume {name}, or choose another --name"
    )


def find_search(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """Find a search by name.

    Raises:
        SearchError: there is none; the message lists the newest ones.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        known = optuna.get_all_study_names(storage)
        raise SearchError(
            f"no search is named {name!r}. Known: {', '.join(known[-10:]) or 'none yet'}"
        ) from error


def _suggest(trial: optuna.Trial, key: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(key, parameter.choices)
    if parameter.kind == "int":
        low, high = int(parameter.low), int(parameter.high)
        return trial.suggest_int(key, low, high, step=int(parameter.step or 1), log=parameter.log)
    return trial.suggest_float(key, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
