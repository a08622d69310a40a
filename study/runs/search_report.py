"""Pages of the parent run: every trial side by side, and the figures of the search."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.core.words import percent
from study.runs.context.run_context import RunContext
from study.runs.figures.run import GRID_NAME
from study.runs.registration.results import WinnerResult
from study.runs.trials.finalists import FinalistRound
from study.search.figures import search_page
from study.search.optimize import Search
from study.search.records import TrialRecord
from study.tracking.base import Recorder, Tracker
from study.tracking.compare_page import CompareRow, render_compare_page
from study.tracking.links import COMPARE_PAGE

TABLE_NAME = "trials.json"


def log_comparison(
    parent: Recorder,
    tracker: Tracker,
    search: Search,
    winner: WinnerResult,
    finalists: FinalistRound,
    context: RunContext,
) -> None:
    """Record ``compare.html``, ``search.html`` and the table of trials with the search's own run, ``parent``."""
    records = search.records()
    random = context.random()
    again = {row["trial"]: row for row in finalists.plain()}
    rows = [_row(record, tracker, winner, again.get(record.number)) for record in records]
    scores = {"validation": random.mean, "test": winner.random_test.mean}
    rows.append(CompareRow("random real images", scores=scores, is_baseline=True))
    config = context.config
    page = render_compare_page(
        f"{search.name}: {config.method} on {config.dataset}, {config.ipc} a class",
        rows,
        best=f"trial {winner.trial}",
        subtitle=(
            f"Budget {config.budget}. Validation is the mean of {_num_networks(context)} a "
            f"trial; the best were scored again by {winner.score.n} fresh ones. Trial {winner.trial} was chosen: "
            f"{finalists.rule}. Test, of {winner.test.n} networks, was opened for the winner alone. Random real "
            f"images: {percent(random.mean, random.std)} on validation, a fresh draw for each of {random.n} "
            f"networks, same recipe.{_front_words(records)}"
        ),
    )
    parent.log_text(page, COMPARE_PAGE)
    parent.log_text(search_page(search.optuna_study, config.search.objectives), "search.html")
    parent.log_table([_flat(record, again.get(record.number)) for record in records], TABLE_NAME)


def _num_networks(context: RunContext) -> str:
    search = context.config.search
    first = f"{search.num_first_seeds} to " if search.races else ""
    steps = f" of {search.num_score_steps} updates" if context.scores_are_brief else ""
    return f"{first}{search.num_trial_seeds} networks{steps}"


def _front_words(records: list[TrialRecord]) -> str:
    if not any(record.on_front for record in records):
        return ""
    return " On the front: no other trial is at least as good in both objectives and better in one."


def _row(
    record: TrialRecord, tracker: Tracker, winner: WinnerResult, again: Mapping[str, Any] | None
) -> CompareRow:
    won = record.number == winner.trial
    last_rung = max(record.reported, default=None)
    scores = {
        "validation": record.plain()["val_accuracy"],
        "scored again": None if again is None else again["val_accuracy"],
        "other architectures": record.plain()["cross_mean"] if again is None else again["cross_mean"],
        "at last rung": None if last_rung is None else record.reported[last_rung],
        "test": winner.test.mean if won else None,
    }
    state = "FAIL" if record.outcome == "DIVERGED" else record.outcome
    return CompareRow(
        f"trial {record.number}", state, dict(record.params), scores, _grid(record, tracker),
        badge="on the front" if record.on_front else "",
    )  # fmt: skip


def _grid(record: TrialRecord, tracker: Tracker) -> bytes | None:
    run_id = record.attributes.get("run_id")
    # A trial that diverged has no last picture.
    if run_id is None or record.outcome not in {"COMPLETE", "PRUNED"}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return tracker.download(str(run_id), GRID_NAME, Path(folder)).read_bytes()


def _flat(record: TrialRecord, again: Mapping[str, Any] | None) -> dict[str, object]:
    plain = record.plain()
    params = plain.pop("params")
    keys = ("val_accuracy", "val_accuracy_std", "n", "cross_mean", "chosen")
    finalist = {f"finalist_{key}": None if again is None else again[key] for key in keys}
    return {**plain, **finalist, **params}
