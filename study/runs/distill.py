"""One configuration, no search: tracked and registered like the winner of a search."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from study.core.clock import cost_metrics
from study.core.reporting import listening
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.recording import describe_run, prepare, recorded
from study.runs.context.stores import StoreOptions
from study.runs.figures.run import log_score_figures
from study.runs.registration.description import NOTE_TAG, describe_winner
from study.runs.registration.register import fit_words, log_trial_set, register_winner
from study.runs.registration.results import SearchResult
from study.runs.trials.finalists import with_full_start
from study.runs.trials.trial import run_trial


def distill(
    config: RunConfig,
    stores: StoreOptions,
    callback: Callback | None = None,
    *,
    name: str | None = None,
    output: Path | None = None,
) -> SearchResult:
    """Distil one set, score it, register it; a copy goes into the folder ``output``.

    The set is the one that a search trial with the same parameters and seed makes.

    Raises:
        StudyError: data, store or configuration is at fault, or the images diverged.
    """
    callback = callback or Callback()
    name = name or config.set_name
    with contextlib.ExitStack() as stack:
        stack.enter_context(listening(callback.on_work))
        context, tracker = prepare(config, stores, callback)
        config = context.config
        recorder = stack.enter_context(recorded(tracker, config, name, kind="distill"))
        describe_run(recorder, config, context)
        callback.on_trial_start(0, {}, config.distill.num_iterations)
        result = run_trial(context, config, recorder, callback)
        callback.on_trial_end(0, "COMPLETE", {"accuracy": result.score.mean})
        with context.clock.part("tracking"):
            log_trial_set(recorder, result, config, context)
            log_score_figures(recorder, config, context)
        with context.clock.part("finalists"):
            score = context.scorer("finalist").score(result.synthetic, config.search.num_finalist_seeds)
        cross = context.cross_score(result.synthetic, "finalist")
        fitness = context.fitness(result.synthetic, cross, result.relative_change)
        chosen = replace(result, score=score, cross=cross, fitness=fitness)
        chosen = with_full_start(chosen, context, config)
        winner = register_winner(tracker, context, chosen, callback, origin=name, output=output)
        cost = context.clock.split()
        metrics = {**winner.metrics(), **cost_metrics(cost)}
        curve = {key: value for key, value in metrics.items() if key.startswith("val/accuracy")}
        recorder.log_metrics(curve, config.distill.num_iterations)
        recorder.log_metrics({key: value for key, value in metrics.items() if key not in curve})
        links = tracker.links(config.experiment_name)
        recorder.set_tags(
            {"study.set": winner.set, "study.fit": fit_words(winner.fitness),
             NOTE_TAG: describe_winner(config, winner, links, 1)}
        )  # fmt: skip
    return SearchResult(
        search=name,
        dataset=config.dataset,
        method=config.method,
        ipc=config.ipc,
        budget=config.budget,
        trials_finished=1,
        trials=[],
        seconds=sum(cost.values()),
        winner=winner,
        links=links,
        cost=cost,
        objective=config.search.objective,
    )
