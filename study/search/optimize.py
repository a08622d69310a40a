"""One search: opened or found again by name, driven trial by trial, never losing a finished one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.core.errors import DivergedError, SearchError
from study.search.config import SearchConfig
from study.search.sampler import INTERRUPTED, SLOT, SlotSampler, slot_of
from study.search.spaces import Choice, Parameter, Space
from study.search.storage import owner_is_dead, owner_tag

__all__ = ["Pruned", "Search", "TrialHandle", "TrialRecord", "create_search", "find_search"]

TrialOutcome = Literal["COMPLETE", "PRUNED", "DIVERGED", "INTERRUPTED", "RUNNING"]
Pruned = optuna.TrialPruned
"""Raised by an objective that :meth:`TrialHandle.report` told to stop."""

DIVERGED = "study.diverged"
OWNER = "study.owner"


@dataclass(frozen=True)
class TrialRecord:
    """A trial as the storage knows it.

    Attributes:
        slot: position in the search, from 0; the number that users see.
        outcome: how it ended; ``INTERRUPTED`` trials are repeated, all others count.
        params: sampled values by dotted key.
        value: of the objective on validation; None unless complete.
        reported: score by percent of iterations done.
        attributes: what the objective noted, such as the run id.
        seconds: wall time so far.
    """

    slot: int
    outcome: TrialOutcome
    params: Mapping[str, Any]
    value: float | None
    reported: Mapping[int, float]
    attributes: Mapping[str, Any]
    seconds: float

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that were asked for."""
        return self.outcome in {"COMPLETE", "PRUNED", "DIVERGED"}

    def plain(self) -> dict[str, Any]:
        """Plain values for tables and ``--json``."""
        return {
            "trial": self.slot,
            "outcome": self.outcome,
            "val_accuracy": self.attributes.get("val_accuracy", self.value),
            "objective": self.value,
            "cross_mean": (self.attributes.get("cross") or {}).get("mean"),
            "params": dict(self.params),
            "seconds": self.seconds,
            "run_id": self.attributes.get("run_id"),
        }


class TrialHandle:
    """What an objective gets: its parameters, and whom to report to."""

    def __init__(self, trial: optuna.Trial, params: Mapping[str, Any]) -> None:
        self._trial = trial
        # Asked of the storage: the trial was read before the sampler gave it its slot.
        self.slot = slot_of(trial.storage.get_trial(trial._trial_id))
        self.params = dict(params)

    def report(self, value: float, percent: int) -> bool:
        """Report a validation score; True means: raise :data:`Pruned`."""
        self._trial.report(value, percent)
        return self._trial.should_prune()

    def note(self, key: str, value: Any) -> None:
        """Keep a plain value with the trial, for a later process."""
        self._trial.set_user_attr(key, value)


class Search:
    """A search in its storage."""

    def __init__(self, optuna_study: optuna.Study, config: SearchConfig, space: Space, seed: int) -> None:
        self._study = optuna_study
        self._config = config
        self._space = space
        self._study.sampler = SlotSampler(config, seed)
        self._study.pruner = _build_pruner(config)

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
        """Every trial that was started, by slot; a repeated trial appears once, as its last attempt."""
        latest: dict[int, TrialRecord] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state is not TrialState.WAITING:
                latest[slot_of(trial)] = _record(trial)
        return [latest[slot] for slot in sorted(latest)]

    def best(self, count: int) -> list[TrialRecord]:
        """The best complete trials, best first; an earlier one wins a tie."""
        complete = [record for record in self.records() if record.value is not None]
        return sorted(complete, key=lambda record: (-(record.value or 0.0), record.slot))[:count]

    def propose(self, params: Mapping[str, Any]) -> None:
        """Have these values tried first, if the space allows them and nothing has run yet."""
        if not self._study.get_trials(deepcopy=False):
            fitting = {key: value for key, value in params.items() if _allows(self._space[key], value)}
            self._study.enqueue_trial(fitting)

    def recover(self) -> list[int]:
        """Queue again what an earlier process left unfinished; gives the slots."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            owner = trial.user_attrs.get(OWNER)
            if trial.state is TrialState.RUNNING and owner and owner_is_dead(owner):
                self._study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
        trials = self._study.get_trials(deepcopy=False)
        settled = {
            slot_of(t) for t in trials if t.state is TrialState.WAITING or _outcome(t) != "INTERRUPTED"
        }
        lost = {slot_of(t): t for t in trials if slot_of(t) not in settled}
        for slot, trial in sorted(lost.items()):
            self._study.enqueue_trial(trial.params, user_attrs={SLOT: slot})
        return sorted(lost)

    def optimize(
        self, objective: Callable[[TrialHandle], float], num_trials: int, timeout_seconds: float | None = None
    ) -> None:
        """Run trials until that many count, or until the time is up (the running one is finished).

        A :class:`DivergedError` ends its trial and the search goes on; any other error, and Ctrl-C, marks
        the trial as interrupted, to be repeated, and is raised.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while sum(record.counts for record in self.records()) < num_trials:
            if deadline is not None and time.monotonic() >= deadline:
                return
            self._study.optimize(
                lambda trial: self._run(objective, trial), n_trials=1, catch=(DivergedError,)
            )

    def _run(self, objective: Callable[[TrialHandle], float], trial: optuna.Trial) -> float:
        trial.set_user_attr(OWNER, owner_tag())
        try:
            params = {key: _suggest(trial, key, parameter) for key, parameter in self._space.items()}
            return objective(TrialHandle(trial, params))
        except DivergedError as error:
            trial.set_user_attr(DIVERGED, str(error))
            raise
        except Pruned:
            raise
        except BaseException:
            trial.set_user_attr(INTERRUPTED, True)
            raise


def create_search(
    storage: optuna.storages.BaseStorage,
    name: str | None,
    prefix: str,
    config: SearchConfig,
    space: Space,
    seed: int,
) -> Search:
    """Make a new search; without a name it gets the first free one of ``prefix-1``, ``prefix-2``, ...

    Raises:
        SearchError: a search of that name exists.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    taken = set(optuna.get_all_study_names(storage))
    number = 1
    while True:
        candidate = name or f"{prefix}-{number}"
        try:
            if candidate in taken:
                raise optuna.exceptions.DuplicatedStudyError
            return Search(
                optuna.create_study(storage=storage, study_name=candidate, direction="maximize"),
                config,
                space,
                seed,
            )
        except optuna.exceptions.DuplicatedStudyError as error:
            if name:
                raise SearchError(
                    f"a search named {name!r} exists; continue it with --resume {name}, or choose another --name"
                ) from error
            number += 1


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


def _build_pruner(config: SearchConfig) -> optuna.pruners.BasePruner:
    if config.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=max(1, config.num_startup_trials), n_warmup_steps=0)


def _suggest(trial: optuna.Trial, key: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(key, parameter.choices)
    if parameter.kind == "int":
        low, high = int(parameter.low), int(parameter.high)
        return trial.suggest_int(key, low, high, step=int(parameter.step or 1), log=parameter.log)
    return trial.suggest_float(key, parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _allows(parameter: Parameter, value: Any) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.choices
    return isinstance(value, int | float) and parameter.low <= value <= parameter.high


def _outcome(trial: FrozenTrial) -> TrialOutcome:
    if trial.state is TrialState.COMPLETE:
        return "COMPLETE"
    if trial.state is TrialState.PRUNED:
        return "PRUNED"
    if trial.state is TrialState.FAIL:
        # A trial whose process died has no mark at all, and is to be repeated like an interrupted one.
        return "DIVERGED" if DIVERGED in trial.user_attrs else "INTERRUPTED"
    return "RUNNING"


def _record(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord(
        slot=slot_of(trial),
        outcome=_outcome(trial),
        params=trial.params,
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        reported=trial.intermediate_values,
        attributes=trial.user_attrs,
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
    )
