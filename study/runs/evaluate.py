"""Asking a question of a stored set by a protocol, and recording the answer as a run of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from study.core.errors import ConfigError, UnknownSetError
from study.core.reporting import listening
from study.protocols.base import EvaluateOptions, Findings, Session, find_protocol
from study.runs.catalog.sets import load_set
from study.runs.context.callbacks import Callback
from study.runs.context.recording import describe_run, recorded
from study.runs.context.run_context import RunContext, open_context
from study.runs.context.saved import check_comparable, check_fingerprint, stored_config, twin_command
from study.runs.context.stores import StoreOptions, open_tracking
from study.sets.files import StoredSet
from study.tracking.base import Recorder, Tracker

PICTURE_DPI = 130


@dataclass(frozen=True, kw_only=True)
class Evaluation(Findings):
    """What a protocol found about a set; accuracies are fractions, deviations have ddof 1.

    Attributes:
        split: what was classified; ``train`` where images were compared and nothing was trained.
        model: the architecture the set was distilled with.
        recipe: by which networks were trained on it.
        n: evaluation seeds of every score; 0 where nothing was trained.
        artifacts: files of the run.

    Example:
        >>> import study
        >>> made = study.distill("random", budget="smoke")
        >>> found = study.evaluate(made.winner.set, seeds=2, pool="none", full_data=False)
        >>> found.n, found.split, sorted(found.rows[0])[:2]
        (2, 'validation', ['distilled', 'distilled_high'])
    """

    protocol: str
    set: str
    dataset: str
    method: str
    ipc: int
    split: str
    model: str
    recipe: dict[str, Any]
    n: int
    artifacts: list[str]
    run_id: str

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``, without pictures and curves."""
        left_out = ("figures", "curves")
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}


def evaluate(
    reference: str,
    options: EvaluateOptions | None = None,
    stores: StoreOptions | None = None,
    callback: Callback | None = None,
) -> Evaluation:
    """Train fresh networks on a stored set and judge it by a protocol, beside random real images.

    Raises:
        UnknownNameError: no protocol has that name.
        StudyError: the set is unknown or altered, the real data is missing or differs from the data it was made
            from, or the protocol does not take an option or that split.
    """
    options, stores, callback = options or EvaluateOptions(), stores or StoreOptions(), callback or Callback()
    protocol = find_protocol(options.protocol)()
    protocol.check(options)
    _check_overrides(options.overrides)
    stored = load_set(reference, stores)
    config = stored_config(stored, options.overrides)
    callback.on_phase(f"loading {config.dataset}")
    with listening(callback.on_work):
        context = open_context(config, stores.data_root)
    check_fingerprint(reference, stored, context)
    against = None if options.against is None else _load_against(options.against, reference, context, stores)
    tracker = open_tracking(stores)
    split = options.split if protocol.trains else "train"
    is_default = options.protocol == EvaluateOptions.protocol
    with listening(callback.on_work), recorded(
        tracker, config, f"{'evaluate' if is_default else f'{protocol.name} of'} {stored.manifest.name}",
        kind="evaluate" if is_default else "protocol",
    ) as recorder:  # fmt: skip
        describe_run(recorder, config, context)
        recorder.set_tags({"study.set": reference, "study.protocol": protocol.name, "study.split": split})
        seeds = ("score", "evaluate") if is_default else ("protocol", protocol.name)
        session = Session(
            reference=reference,
            stored=stored,
            options=options,
            splits=context.splits,
            on_validation=context.evaluator(
                *seeds, seed=options.seed, expected_scores=2 if is_default else 1
            ),
            full_data=context.full_data,
            purpose=f"study evaluate {reference} --protocol {protocol.name} --split test",
            report=callback.on_phase,
            against=against,
            twin_command=lambda changes: twin_command(stored_config(stored, {}), changes),
            distill_seconds=lambda: _distill_seconds(tracker, stored),
            num_random=context.num_random(),
        )
        found = protocol.measure(session)
        artifacts = _record(recorder, protocol.name, found)
        run_id = recorder.run_id
    return Evaluation(
        **vars(found),
        protocol=protocol.name,
        set=reference,
        dataset=config.dataset,
        method=config.method,
        ipc=config.ipc,
        split=split,
        model=config.model.name,
        recipe=config.evaluation.resolve().model_dump(mode="json"),
        n=options.num_seeds if protocol.trains else 0,
        artifacts=artifacts,
        run_id=run_id,
    )


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    """Refuse settings of what is done already.

    Raises:
        ConfigError: one belongs to the making of the set, which an evaluation cannot change.
    """
    for key in overrides:
        if key in ("distill", "search", "work"):
            raise ConfigError(
                f"--set {key}.*: the set is made already; an evaluation takes evaluation.*, data.* and compute.*, "
                "and --models for other networks"
            )


def _load_against(against: str, reference: str, context: RunContext, stores: StoreOptions) -> StoredSet:
    """A second set, which has to be of the same real data, size and normalised space.

    Raises:
        ConfigError: it is not.
    """
    stored = load_set(against, stores)
    config, other = context.config, stored_config(stored, {})
    check_comparable(reference, config, against, other)
    check_fingerprint(against, stored, context)
    for what, one, two in (
        ("ipc", config.ipc, other.ipc),
        ("preprocessing", config.data.preprocessing, other.data.preprocessing),
    ):
        if one != two:
            raise ConfigError(
                f"{reference} has {what} = {one!r}, {against} has {two!r}: one picture needs the same"
            )
    return stored


def _distill_seconds(tracker: Tracker, stored: StoredSet) -> float | None:
    """What the run that made the set recorded, its start included; None where that run is in another store."""
    try:
        metrics = tracker.get_run(stored.manifest.origin_run_id).metrics
    except UnknownSetError:
        return None
    known = [seconds for part in ("start", "distill") if (seconds := metrics.get(f"cost/{part}_seconds"))]
    return sum(known) if known else None


def _record(recorder: Recorder, name: str, found: Findings) -> list[str]:
    recorder.log_metrics(found.metrics)
    for metric, points in found.curves.items():
        for step, value in points:
            recorder.log_metrics({metric: value}, step)
    table, plain = f"{name}_table.json", f"{name}.json"
    recorder.log_table([_flat(row) for row in found.rows], table)
    values = {"metrics": found.metrics, "rows": found.rows, "totals": found.totals, "notes": found.notes}
    recorder.log_text(json.dumps(values, indent=2, allow_nan=False) + "\n", plain)
    for picture, figure in found.figures.items():
        recorder.log_figure(figure, picture, dpi=PICTURE_DPI)
    return [plain, table, *found.figures]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without lists, for the table of the UI."""
    return {key: value for key, value in row.items() if not isinstance(value, list | tuple)}
