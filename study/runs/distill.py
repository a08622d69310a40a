"""One configuration, no search: tracked and registered like the winner of a search."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.recording import describe_run, prepare, recorded
from study.runs.context.stores import StoreOptions
from study.runs.figures.run import log_score_figures
from study.runs.registration.register import log_trial_set, register_winner
from study.runs.registration.results import SearchResult
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
    started = time.perf_counter()
    context, watch, tracker = prepare(config, stores, callback)
    name = name or config.set_name
    with recorded(tracker, config, name, kind="distill") as recorder:
        describe_run(recorder, config, context)
        callback.on_trial_start(0, {}, config.distill.num_iterations)
        result = run_trial(context, config, recorder, callback, None)
        callback.on_trial_end(0, "COMPLETE", {"accuracy": result.score.mean})
        with watch.running():
            log_trial_set(recorder, result, config, context)
            log_score_figures(recorder, config, context)
        scorer, num_seeds = context.scorer("finalist"), config.search.num_finalist_seeds
        chosen = replace(
            result, score=scorer.score(result.synthetic, num_seeds), random=context.random("finalist")
        )
        winner = register_winner(tracker, watch, context, chosen, callback, origin=name, output=output)
        recorder.log_metrics(
            {**winner.metrics(), "cost/tracking_seconds": watch.seconds}, config.distill.num_iterations
        )
        recorder.set_tags({"study.set": winner.set})
    return SearchResult(
        search=name,
        dataset=config.dataset,
        method=config.method,
        ipc=config.ipc,
        budget=config.budget,
        trials_finished=1,
        trials=[],
        seconds=time.perf_counter() - started,
        winner=winner,
        links=tracker.links(config.experiment_name),
        tracking_seconds=watch.seconds,
        objective=config.search.objective,
    )
