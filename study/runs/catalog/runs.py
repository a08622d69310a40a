"""Runs side by side: the table that the UI shows, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from study.core.errors import UnknownSetError, unknown_name
from study.runs.catalog.measures import measured
from study.runs.context.stores import StoreOptions, open_reading, open_tracking
from study.tracking.base import RunInfo, Tracker

MACHINE_TAGS = ("study.platform", "study.python", "study.torch")
KINDS = ("search", "distill")


def compare_runs(
    references: Sequence[str], stores: StoreOptions, *, experiment: str | None = None, trials: bool = False
) -> list[dict[str, Any]]:
    """One row a run, best validation score first; without references every search and distillation.

    References are run ids, names of searches or registered sets; ``trials`` gives the trials of each search instead
    of its own row, with their hyperparameters by dotted key, and without columns that are empty in every row.

    Raises:
        UnknownSetError: a reference is neither run nor search nor set.
        UnknownNameError: there is no such experiment.
    """
    # What is named has to be somewhere; a list may be empty.
    tracker = open_tracking(stores, create=False) if references else open_reading(stores)
    runs = [] if tracker is None else select_runs(tracker, references, experiment)
    if tracker is not None and trials:
        runs = [trial for run in runs for trial in trials_of(tracker, run)]
    rows = [_row(run) for run in runs]
    if trials:
        rows = _with_params(rows, runs)
    return sorted(
        rows, key=lambda row: -1.0 if row.get("validation") is None else row["validation"], reverse=True
    )


def select_runs(tracker: Tracker, references: Sequence[str], experiment: str | None) -> list[RunInfo]:
    """The searches and distillations that are meant; without references all, or those of an experiment.

    Raises:
        UnknownSetError: a reference is neither run nor search nor set.
        UnknownNameError: there is no such experiment.
    """
    if experiment is not None:
        known = {run.experiment for run in tracker.find_runs()}
        if experiment not in known:
            raise unknown_name("experiment", experiment, known)
    if references:
        found = [_find(tracker, reference) for reference in references]
        return [run for run in found if experiment is None or run.experiment == experiment]
    return [run for run in tracker.find_runs(experiment) if run.tags.get("study.kind") in KINDS]


def trials_of(tracker: Tracker, run: RunInfo) -> list[RunInfo]:
    """The trials of a search, newest first; of a single distillation itself."""
    search = run.tags.get("study.search")
    if search is None:
        return [run]
    return tracker.find_runs(run.experiment, {"study.search": search, "study.kind": "trial"})


def _find(tracker: Tracker, reference: str) -> RunInfo:
    found = tracker.find_runs(tags={"study.search": reference, "study.kind": "search"})
    if found:
        return found[0]
    try:
        return tracker.get_run(tracker.resolve_set(reference).run_id)
    except UnknownSetError:
        return tracker.get_run(reference)


def _row(run: RunInfo) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": run.name,
        "experiment": run.experiment,
        "method": run.tags.get("study.method", ""),
        "budget": run.tags.get("study.budget", ""),
        "status": run.tags.get("optuna.state", run.status) if run.status != "RUNNING" else "RUNNING",
    }
    for key in ("validation", "test"):
        score, random = measured(key, run), measured(f"random_{key}", run)
        row.update({key: score.mean, f"{key}_std": score.std})
        row["n" if key == "test" else f"n_{key}"] = score.n
        row.update({f"random_{key}": random.mean, f"random_{key}_std": random.std})
    cross, random_cross = measured("cross", run), measured("random_cross", run)
    row.update({"cross": cross.mean, "cross_std": cross.std, "random_cross": random_cross.mean})
    row["relative_change"] = run.metrics.get("synthetic/relative_change")
    row["seconds"] = run.metrics.get("cost/search_seconds")
    row["set"] = run.tags.get("study.set", "")
    row["commit"] = run.tags.get("study.git.commit", "")
    row["machine"] = ", ".join(run.tags[key] for key in MACHINE_TAGS if key in run.tags)
    row["run_id"] = run.run_id
    return row


def _with_params(rows: list[dict[str, Any]], runs: Sequence[RunInfo]) -> list[dict[str, Any]]:
    """Rows with the search they belong to and their hyperparameters, after what they are and before the scores."""
    names = list(dict.fromkeys(name for run in runs for name in run.params if "." in name))
    # A distillation keeps its whole configuration; of that, what trials search is shown.
    searched = {name for run in runs if run.tags.get("study.kind") == "trial" for name in run.params}
    full = []
    for row, run in zip(rows, runs, strict=True):
        params = {name: run.params.get(name) for name in names if name in searched}
        full.append({"run": row["run"], "search": run.tags.get("study.search", ""), **params, **row})
    filled = {key for row in full for key, value in row.items() if value not in (None, "")}
    return [{key: value for key, value in row.items() if key in filled} for row in full]
