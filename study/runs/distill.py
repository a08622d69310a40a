"""One configuration, no search: tracked and registered like the winner of a search."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from study.runs.config.configure import RunConfig
from study.runs.config.naming import experiment_name, set_name
from study.runs.context.callbacks import Callback
from study.runs.context.recording import Stopwatch, describe_run, recorded
from study.runs.context.run_context import open_context
from study.runs.context.stores import StoreOptions, open_tracking_meanwhile
from study.runs.figures.method import log_score_figures
from study.runs.registration.register import register_winner
from study.runs.registration.results import SearchResult
from study.runs.registration.set_folder import log_trial_set
from study.runs.trials.trial import run_trial


@dataclass(frozen=True)
class DistillOptions:
    """Where the run is kept.

    Attributes:
        stores: tracking store and real data.
        name: of the run.
        output: folder for a copy of the set.
    """

    stores: StoreOptions = field(default_factory=StoreOptions)
    name: str | None = None
    output: Path | None = None


def distill(config: RunConfig, options: DistillOptions, callback: Callback | None = None) -> SearchResult:
    """Distil one set, score it, register it.

    The set is the one that a search trial with the same parameters and seed makes.

    Raises:
        StudyError: data, store or configuration is at fault, or the images diverged.
    """
    callback = callback or Callback()
    started = time.perf_counter()
    callback.on_phase(f"loading {config.dataset}")
    context = open_context(config, options.stores.data_root)
    opening = open_tracking_meanwhile(options.stores)
    callback.on_phase("scoring random real images under the same recipe")
    context.score_baselines()
    watch = Stopwatch()
    with watch.running():
        tracker = watch.wrap(opening.result())
    name = options.name or set_name(config)
    with recorded(tracker, config, name, kind="distill") as recorder:
        describe_run(recorder, config, context)
        log_score_figures(recorder, config, context)
        callback.on_trial_start(0, {}, config.distill.num_iterations)
        result = run_trial(context, config, recorder, callback, None)
        callback.on_trial_end(0, "COMPLETE", {"accuracy": result.score.mean})
        with watch.running():
            log_trial_set(recorder, result, config, context)
        scorer, num_seeds = context.scorer("finalist"), config.search.num_finalist_seeds
        chosen = replace(
            result, score=scorer.score(result.synthetic, num_seeds), random=context.random("finalist")
        )
        winner = register_winner(
            tracker, watch, context, chosen, callback, origin=name, output=options.output
        )
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
        links=tracker.links(experiment_name(config)),
        tracking_seconds=watch.seconds,
        objective=config.search.objective,
    )
