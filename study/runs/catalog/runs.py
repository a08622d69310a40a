"""Runs side by side: the table that the UI shows, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from study.core.errors import UnknownSetError
from study.runs.context.stores import StoreOptions
from study.tracking.base import RunInfo, Tracker
from study.tracking.open import open_tracker
from study.tracking.stores import locate

COLUMNS = {
    "validation": "val/accuracy",
    "validation_std": "val/accuracy_std",
    "test": "test/accuracy",
    "test_std": "test/accuracy_std",
    "n": "test/num_seeds",
    "random_test": "random/test_accuracy",
    "random_test_std": "random/test_accuracy_std",
    "relative_change": "synthetic/relative_change",
    "seconds": "cost/search_seconds",
}
"""Metrics of a run by column; accuracies are fractions, deviations have ddof 1."""

MACHINE_TAGS = ("study.platform", "study.python", "study.torch")
KINDS = ("search", "distill")


def compare_runs(
    references: Sequence[str], stores: StoreOptions, *, experiment: str | None = None, trials: bool = False
) -> list[dict[str, Any]]:
    """One row a run, best validation score first; without references every search and distillation.

    References are run ids, names of searches or registered sets; ``trials`` gives the trials of each search instead
    of its own row.

    Raises:
        UnknownSetError: a reference is neither run nor search nor set.
    """
    database = locate(stores.tracking_uri, stores.root).database
    if database is not None and not database.exists() and not references:
        return []  # a command that reads makes no store
    tracker = open_tracker(stores.tracking_uri, stores.root, create=False)
    if references:
        runs = [_find(tracker, reference) for reference in references]
    else:
        runs = [run for run in tracker.find_runs(experiment) if run.tags.get("study.kind") in KINDS]
    if trials:
        runs = [trial for run in runs for trial in _trials(tracker, run)]
    rows = [_row(run) for run in runs]
    return sorted(
        rows, key=lambda row: -1.0 if row["validation"] is None else row["validation"], reverse=True
    )


def _find(tracker: Tracker, reference: str) -> RunInfo:
    found = tracker.find_runs(tags={"study.search": reference, "study.kind": "search"})
    if found:
        return found[0]
    try:
        return tracker.get_run(tracker.resolve_set(reference).run_id)
    except UnknownSetError:
        return tracker.get_run(reference)


def _trials(tracker: Tracker, run: RunInfo) -> list[RunInfo]:
    search = run.tags.get("study.search")
    if search is None:
        return [run]
    return tracker.find_runs(run.experiment, {"study.search": search, "study.kind": "trial"})


def _row(run: RunInfo) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": run.name,
        "experiment": run.experiment,
        "method": run.tags.get("study.method", ""),
        "budget": run.tags.get("study.budget", ""),
        "status": run.tags.get("optuna.state", run.status) if run.status != "RUNNING" else "RUNNING",
    }
    row.update({column: run.metrics.get(metric) for column, metric in COLUMNS.items()})
    row["set"] = run.tags.get("study.set", "")
    row["commit"] = run.tags.get("study.git.commit", "")
    row["machine"] = ", ".join(run.tags[key] for key in MACHINE_TAGS if key in run.tags)
    row["run_id"] = run.run_id
    return row
