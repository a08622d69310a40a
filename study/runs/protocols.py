"""Protocols beyond accuracy, by name: leakage, noise, cost, ranking, continual."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from study.core.errors import ConfigError, unknown_name
from study.core.seeding import Generators
from study.runs.catalog.sets import load_set
from study.runs.context.callbacks import Callback
from study.runs.context.recording import describe_run, recorded
from study.runs.context.run_context import RunContext, open_context
from study.runs.context.stored_set import check_comparable, check_fingerprint, stored_config
from study.runs.context.stores import open_tracking
from study.runs.protocol_measures import measure_continual, measure_leakage
from study.runs.protocol_noise import measure_noise
from study.runs.protocol_prices import measure_cost, measure_ranking
from study.runs.protocol_session import Findings, Measure, ProtocolOptions, ProtocolResult, Session
from study.sets.files import StoredSet
from study.tracking.base import Recorder

__all__ = ["PROTOCOLS", "Protocol", "ProtocolOptions", "ProtocolResult", "run_protocol"]

PICTURE_DPI = 130


@dataclass(frozen=True)
class Protocol:
    """One way to judge a set.

    Attributes:
        measure: does it.
        about: one line for help texts.
        trains: whether networks are trained and real images of a split classified.
        compares: whether a second set may stand beside the first.
    """

    measure: Measure
    about: str
    trains: bool = True
    compares: bool = False


PROTOCOLS: dict[str, Protocol] = {
    "leakage": Protocol(measure_leakage, "near copies of real training images, side by side", trains=False),
    "noise": Protocol(measure_noise, "accuracy under noise on synthetic and on real images", compares=True),
    "cost": Protocol(measure_cost, "FLOPs, time and bytes against real data at the same accuracy"),
    "ranking": Protocol(measure_ranking, "label-robust and augmentation-robust scores (LRS, ARS)"),
    "continual": Protocol(measure_continual, "class-incremental learning with the set as memory"),
}


def run_protocol(
    name: str, reference: str, options: ProtocolOptions | None = None, callback: Callback | None = None
) -> ProtocolResult:
    """Judge a stored set by one protocol, and record what it found as a run of its own.

    Args:
        name: a key of :data:`PROTOCOLS`.
        reference: registered name, run id or folder of the set.
        options: split, seeds, recipe, stores.
        callback: told of the stages.

    Raises:
        UnknownNameError: no protocol has that name.
        StudyError: the set is unknown or altered, the real data is missing or differs from the data it was
            made from, or the protocol does not take that split or no set beside.
    """
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    protocol = PROTOCOLS[name]
    options, callback = options or ProtocolOptions(), callback or Callback()
    if options.beside is not None and not protocol.compares:
        able = ", ".join(key for key, one in PROTOCOLS.items() if one.compares)
        raise ConfigError(f"beside = {options.beside!r}: protocol {name!r} takes no second set; {able} does")
    stored = load_set(reference, tracking_uri=options.stores.tracking_uri, root=options.stores.root)
    config = stored_config(stored, options.overrides)
    callback.on_phase(f"loading {config.dataset}")
    context = open_context(config, options.stores.data_root)
    check_fingerprint(reference, stored, context)
    beside = None if options.beside is None else _load_beside(options.beside, reference, context, options)
    root = context.generators if options.seed is None else Generators(options.seed, context.compute.device)
    tracker = open_tracking(options.stores)
    split = options.split if protocol.trains else "train"
    with recorded(tracker, config, f"{name} of {stored.manifest.name}", kind="protocol") as recorder:
        describe_run(recorder, config, context)
        recorder.set_tags({"study.set": reference, "study.protocol": name, "study.split": split})
        session = Session(
            stored=stored,
            context=context,
            options=options,
            generators=root.child("protocol", name),
            callback=callback,
            tracker=tracker,
            purpose=f"study evaluate {reference} --protocol {name} --split test",
            reference=reference,
            beside=beside,
        )
        found = protocol.measure(session)
        artifacts = _record(recorder, name, found)
        run_id = recorder.run_id
    return ProtocolResult(
        protocol=name,
        set=reference,
        dataset=config.dataset,
        method=config.method,
        ipc=config.ipc,
        split=split,
        model=config.model.name,
        n=options.num_seeds if protocol.trains else 0,
        metrics=found.metrics,
        rows=found.rows,
        notes=found.notes,
        artifacts=artifacts,
        run_id=run_id,
    )


def _load_beside(beside: str, reference: str, context: RunContext, options: ProtocolOptions) -> StoredSet:
    """A second set, which has to be of the same real data, size and normalised space.

    Raises:
        ConfigError: it is not.
    """
    stored = load_set(beside, tracking_uri=options.stores.tracking_uri, root=options.stores.root)
    config, other = context.config, stored_config(stored, {})
    check_comparable(reference, config, beside, other)
    check_fingerprint(beside, stored, context)
    for what, one, two in (
        ("ipc", config.ipc, other.ipc),
        ("preprocessing", config.data.preprocessing, other.data.preprocessing),
    ):
        if one != two:
            raise ConfigError(
                f"{reference} has {what} = {one!r}, {beside} has {two!r}: one picture needs the same"
            )
    return stored


def _record(recorder: Recorder, name: str, found: Findings) -> list[str]:
    recorder.log_metrics(found.metrics)
    for metric, points in found.curves.items():
        for step, value in points:
            recorder.log_metrics({metric: value}, step)
    table, plain = f"{name}_table.json", f"{name}.json"
    recorder.log_table([dict(row) for row in found.rows], table)
    values = {"metrics": found.metrics, "rows": found.rows, "notes": found.notes}
    recorder.log_text(json.dumps(values, indent=2, allow_nan=False) + "\n", plain)
    with tempfile.TemporaryDirectory() as folder:
        for picture, figure in found.figures.items():
            path = Path(folder) / picture
            figure.savefig(path, dpi=PICTURE_DPI)
            recorder.log_file(path)
    return [plain, table, *found.figures]
