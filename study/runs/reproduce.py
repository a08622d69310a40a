"""A stored set that is distilled again from its own configuration, and compared byte for byte."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from study.core.errors import CorruptSetError, StudyError, UnknownSetError
from study.core.records import SyntheticSet
from study.core.reporting import listening
from study.methods.base import find_method
from study.runs.catalog.sets import load_set
from study.runs.config.configure import RunConfig, restore
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext, open_context
from study.runs.context.saved import check_fingerprint
from study.runs.context.stores import StoreOptions, open_reading
from study.runs.trials.trial import tell_losses
from study.sets.files import DATA_NAME, StoredSet, write_set
from study.sets.manifest import Manifest
from study.tracking.base import Tracker
from study.tracking.provenance import provenance


def reproduce(reference: str, stores: StoreOptions, callback: Callback | None = None) -> dict[str, Any]:
    """Distil a set again and compare the SHA-256 of its tensors; nothing is tracked or registered.

    Raises:
        UnknownSetError: there is no such run, search or set, or the run left no set.
        CorruptSetError: the recorded set is incomplete or altered.
        DataError: the real images here are others than those it was made from.
        DivergedError: a loss is not finite.
    """
    callback = callback or Callback()
    tracker = open_reading(stores)
    stored = load_set(_set_of(reference, tracker), stores)
    manifest = stored.manifest
    if not manifest.config:
        raise CorruptSetError(f"the manifest of {reference} holds no configuration to run again")
    config = restore(manifest.config)
    with listening(callback.on_work):
        callback.on_phase(f"loading {config.dataset}")
        context = open_context(config, stores.data_root)
        check_fingerprint(reference, stored, context)
        callback.on_phase(f"distilling {reference} again")
        synthetic = _distil(config, context, callback)
    sha256 = _digest(synthetic, config, context)
    recorded_sha256 = manifest.files[DATA_NAME].sha256
    recorded = _recorded(stored, tracker)
    here = {**provenance(), **context.compute.describe(), "config_digest": config.digest}
    return {
        "reference": reference,
        "same": sha256 == recorded_sha256,
        "recorded_sha256": recorded_sha256,
        "sha256": sha256,
        "fingerprint": context.splits.fingerprint,
        "differences": {
            key: [value, here.get(key, "unknown")]
            for key, value in recorded.items()
            if here.get(key) != value
        },
    }


def _set_of(reference: str, tracker: Tracker | None) -> str:
    """What a search or its run registered; anything else names its set itself."""
    if tracker is None:
        return reference
    runs = tracker.find_runs(tags={"study.search": reference, "study.kind": "search"})
    if not runs:
        try:
            runs = [tracker.get_run(reference)]
        except StudyError:
            return reference
    run = runs[0]
    if run.tags.get("study.kind") != "search":
        return reference
    if "study.set" not in run.tags:
        raise UnknownSetError(f"search {run.name!r} registered no set yet; give the id of one of its trials")
    return run.tags["study.set"]


def _distil(config: RunConfig, context: RunContext, callback: Callback) -> SyntheticSet:
    """As a trial does, without a score."""
    task, method = context.task(config), find_method(config.method)(config.distill, config.space)
    method.prepare(task, context.distill_generators())
    callback.on_trial_start(0, {}, config.distill.num_iterations)
    progress = iter(method.distill(task, context.distill_generators()))
    last = next(progress)
    for one in itertools.chain([last], progress):
        last = one
        tell_losses(one, callback)
    synthetic = last.snapshot()
    callback.on_trial_end(0, "COMPLETE", {})
    return synthetic


def _digest(synthetic: SyntheticSet, config: RunConfig, context: RunContext) -> str:
    """SHA-256 of the tensors as a set folder holds them."""
    manifest = Manifest(name=config.set_name, dataset=config.dataset, method=config.method)
    with tempfile.TemporaryDirectory(prefix="study-reproduce-") as name:
        written = write_set(Path(name) / "set", synthetic, manifest, context.splits.preprocessing)
    return written.files[DATA_NAME].sha256


def _recorded(stored: StoredSet, tracker: Tracker | None) -> dict[str, str]:
    """Code, machine and configuration of a set: from its manifest, and from its run where the store has it."""
    manifest = stored.manifest
    facts = {**manifest.versions, "git_commit": manifest.git_commit, "config_digest": manifest.config_digest}
    if tracker is not None and manifest.origin_run_id:
        facts = {**_machine(manifest.origin_run_id, tracker), **facts}
    return {key: value for key, value in facts.items() if value}


def _machine(run_id: str, tracker: Tracker) -> dict[str, str]:
    try:
        runs = [tracker.get_run(run_id)]
    except StudyError:
        return {}  # the set came from another store, or its run was deleted
    if search := runs[0].tags.get("study.search"):
        # The machine stands with the search; its trials share it.
        runs += tracker.find_runs(runs[0].experiment, {"study.search": search, "study.kind": "search"})
    facts = {"platform": runs[0].tags.get("study.platform", "")}
    for run in reversed(runs):
        machine = {key: value for key, value in run.params.items() if key.startswith("machine.")}
        facts.update({key.removeprefix("machine."): value for key, value in machine.items()})
    return facts
