"""A search from start to end: trials, finalists, one look at the test set, a registered winner."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from study.core.clock import cost_metrics
from study.core.errors import ConfigError
from study.core.reporting import listening
from study.methods.experts.store import holding
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.recording import describe_run, log_data, prepare, recorded, run_tags
from study.runs.context.run_context import RunContext
from study.runs.context.stores import StoreOptions, open_search_storage
from study.runs.figures.pareto_front import log_front
from study.runs.figures.run import log_bar_figures, log_final_grid, log_grid, log_score_figures
from study.runs.registration.description import NOTE_TAG, describe_start, describe_winner
from study.runs.registration.register import fit_words, log_trial_set, register_winner
from study.runs.registration.results import SearchResult, WinnerResult
from study.runs.search_report import log_comparison
from study.runs.trials.finalists import FinalistRound, choose_winner, note_result
from study.runs.trials.preparations import cache_shortage
from study.runs.trials.trial import run_trial
from study.search.optimize import Pruned, Search, TrialHandle, create_search, find_search
from study.search.racing import may_become_finalist
from study.tracking.base import Recorder, Tracker


def tune(
    config: RunConfig,
    stores: StoreOptions,
    callback: Callback | None = None,
    *,
    name: str | None = None,
    resume: str | None = None,
    timeout_seconds: float | None = None,
    num_trials: int | None = None,
    output: Path | None = None,
) -> SearchResult:
    """Search the hyperparameters of one method on one dataset at one IPC.

    Args:
        config: what is searched; :func:`study.runs.context.saved.resume_config` gives that of an old search.
        stores: where runs, the search and real data lie.
        callback: told what happens.
        name: of a new search; by default the set name and a number.
        resume: name of a search to continue.
        timeout_seconds: no trial starts after this long; the running one is finished.
        num_trials: extends or shortens a resumed search.
        output: folder for a copy of the winning set.

    Returns:
        The winner with its validation and test scores, beside random real images.

    Raises:
        StudyError: data, store or configuration is at fault, or no trial finished.
        KeyboardInterrupt: interrupted; every finished trial is kept and the search can be resumed.
    """
    if not config.space:
        raise ConfigError(
            f"nothing to search for method {config.method!r}: give --space KEY=LOW:HIGH, or use `study distill`"
        )
    if resume is None:
        config.first_trial()  # refused before hours are spent
    callback = callback or Callback()
    with listening(callback.on_work):
        context, tracker = prepare(config, stores, callback)
        config = context.config
        with context.clock.part("tracking"):
            storage = open_search_storage(stores)
            if resume is not None:
                search = Search(find_search(storage, resume), config.search, config.space, config.seed)
            else:
                search = create_search(
                    storage, name, config.set_name, config.search, config.space, config.seed
                )
                search.note("config", config.plain())
        num_trials = num_trials or config.search.num_trials
        with holding():
            return _TuneRun(config, callback, context, tracker, search, num_trials, timeout_seconds).run(
                output
            )


@dataclass
class _TuneRun:
    """The parts of one search in this process, wired together."""

    config: RunConfig
    callback: Callback
    context: RunContext
    tracker: Tracker
    search: Search
    num_trials: int
    timeout_seconds: float | None

    def run(self, output: Path | None) -> SearchResult:
        parent = self._open_parent()
        try:
            self._run_trials(parent)
            finalists = choose_winner(self.context, self.search, self.tracker, self.callback)
            winner = register_winner(
                self.tracker, self.context, finalists.winner, self.callback,
                origin=self.search.name, output=output,
            )  # fmt: skip
            result = self._finish(parent, finalists, winner)
        except BaseException as error:
            with suppress(Exception):
                parent.set_tags({"study.error": type(error).__name__})
                parent.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        parent.finish()
        return result

    @property
    def _short_name(self) -> str:
        """The search's name without what its experiment says: ``dm-1`` of ``digits-dm-ipc1-1``."""
        name, usual = self.search.name, f"{self.config.set_name}-"
        return f"{self.config.method}-{name.removeprefix(usual)}" if name.startswith(usual) else name

    def _open_parent(self) -> Recorder:
        tags = {"study.search": self.search.name}
        known = self.search.notes().get("run_id")
        if known is not None:
            self.tracker.end_stale_runs(tags, keep=frozenset({str(known)}))
            return self.tracker.resume_run(str(known))
        parent = self.tracker.start_run(
            self.config.experiment_name, self.search.name, tags=run_tags(self.config, "search", **tags)
        )
        self.search.note("run_id", parent.run_id)
        describe_run(parent, self.config, self.context)
        parent.set_tags({NOTE_TAG: describe_start(self.config)})
        self.search.propose(self.config.first_trial())
        return parent

    def _run_trials(self, parent: Recorder) -> None:
        self.search.recover()
        finished = sum(record.counts for record in self.search.records())
        self.callback.on_search(self.search.name, self.num_trials, finished)
        if finished < self.num_trials:
            if shortage := cache_shortage(self.config, self.context):
                self.callback.on_warning(shortage)
            self.callback.on_phase(f"searching {', '.join(self.config.space)}")
        trial = functools.partial(self._trial, parent)
        self.search.optimize(trial, self.num_trials, self.timeout_seconds)

    def _trial(self, parent: Recorder, handle: TrialHandle) -> tuple[float, ...]:
        self.callback.on_trial_start(handle.number, handle.params, self.config.distill.num_iterations)
        outcome, values = "INTERRUPTED", {}
        try:
            values = dict(self._distill(handle, parent))
            outcome = "COMPLETE"
            return tuple(values.values())
        except Pruned:
            outcome = "PRUNED"
            raise
        except ArithmeticError:
            outcome = "DIVERGED"
            raise
        finally:
            self.callback.on_trial_end(handle.number, outcome, values)

    def _distill(self, handle: TrialHandle, parent: Recorder) -> Mapping[str, float]:
        def on_rung(value: float, percent: int) -> None:
            if handle.report(value, percent):
                raise Pruned

        def may_win(first: Sequence[float]) -> bool:
            complete = [one for one in self.search.records() if one.outcome == "COMPLETE" and one.scores]
            finished = [one.scores for one in complete]
            return may_become_finalist(first, finished, self.config.search.num_finalists)

        config = self.config.with_params(handle.params)
        tags = {"study.search": self.search.name, "study.trial": str(handle.number)}
        name = f"{self._short_name}/trial-{handle.number}"
        with recorded(self.tracker, config, name, kind="trial", parent=parent.run_id, **tags) as recorder:
            handle.note("run_id", recorder.run_id)
            recorder.log_params(handle.params)
            log_data(recorder, self.context)
            race = may_win if self.config.search.races else None
            result = run_trial(self.context, config, recorder, self.callback, on_rung, race)
            with self.context.clock.part("tracking"):
                log_trial_set(recorder, result, config, self.context)
            note_result(handle, result)
        return result.objectives

    def _finish(self, parent: Recorder, finalists: FinalistRound, winner: WinnerResult) -> SearchResult:
        clock = self.context.clock
        with clock.part("tracking"):
            log_bar_figures(parent, self.config.with_params(winner.params), self.context)
            log_score_figures(parent, self.config, self.context)
            log_grid(parent, winner.synthetic, self.context.splits, 0)
            log_final_grid(parent, winner.synthetic, self.context.splits)
            log_comparison(parent, self.tracker, self.search, winner, finalists, self.context)
            records = self.search.records()
            log_front(parent, self.tracker, records, winner.trial, self.context)
        links = self.tracker.links(self.config.experiment_name, parent.run_id)
        counted = sum(record.counts for record in records)
        parent.set_tags({NOTE_TAG: describe_winner(self.config, winner, links, counted, finalists.rule)})
        cost = clock.split()
        seconds = sum(cost.values())
        parent.log_metrics(
            {
                **winner.metrics(),
                **cost_metrics(cost),
                "cost/search_seconds": seconds,
                "cost/tracking_fraction": cost["tracking"] / seconds,
            }
        )
        parent.set_tags(
            {"study.winner": str(winner.trial), "study.set": winner.set,
             "study.objective": self.config.search.objective, "study.choice": finalists.rule,
             "study.fit": fit_words(winner.fitness)}
        )  # fmt: skip
        return SearchResult(
            search=self.search.name,
            dataset=self.config.dataset,
            method=self.config.method,
            ipc=self.config.ipc,
            budget=self.config.budget,
            trials_finished=counted,
            trials=[record.plain() for record in records],
            seconds=seconds,
            winner=winner,
            links=links,
            cost=cost,
            objective=self.config.search.objective,
            front=tuple(record.number for record in records if record.on_front),
            finalists=tuple(finalists.plain()),
            choice=finalists.rule,
        )
