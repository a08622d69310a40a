"""Set folders of trials, and the registered version of a chosen one: one look at test, the alias ``best``."""

from __future__ import annotations

import platform
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from study import __version__
from study.core.files import replace_folder
from study.data.datasets import find_dataset
from study.protocols.leakage import check_leakage
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.figures.run import log_final_grid, log_grid
from study.runs.registration.fitness import Fitness
from study.runs.registration.promotion import FIT, compare_with_holder, find_holder, make_best
from study.runs.registration.results import TrialResult, WinnerResult
from study.sets.files import CARD_NAME, DATA_NAME, SET_FOLDER, write_set
from study.sets.manifest import CrossRecord, FullDataRecord, LeakageRecord, Manifest, ScoreRecord
from study.tracking.base import Recorder, Tracker
from study.tracking.provenance import provenance


def register_winner(
    tracker: Tracker,
    context: RunContext,
    chosen: TrialResult,
    callback: Callback,
    *,
    origin: str,
    output: Path | None,
) -> WinnerResult:
    """Open the test set for a chosen set, once, and register it; it becomes ``best`` if it beats the holder.

    ``chosen`` is the choice made on validation alone, ``origin`` the search or run it comes from, for the log of
    test openings, and ``output`` a folder for a copy of the set.
    """
    callback.on_phase("opening the test set, once")
    reason = f"final score of the set chosen on validation in {origin}"
    num_seeds = context.config.search.num_finalist_seeds
    test, random_test = context.test_scores(chosen.synthetic, reason, num_seeds)
    full = context.full_data.known(("validation", "test"))
    winner = WinnerResult.of(chosen, test=test, random_test=random_test, full=full)
    callback.on_phase("registering the set")
    with context.clock.part("tracking"):
        return _register(tracker, context, winner, output)


def _register(
    tracker: Tracker, context: RunContext, winner: WinnerResult, output: Path | None
) -> WinnerResult:
    name = context.config.set_name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        manifest = _full_manifest(context, winner)
        written = write_set(folder, winner.synthetic, manifest, context.splits.preprocessing)
        assert written.leakage is not None
        near_copies = written.leakage.num_near_copies
        winner = replace(winner, sha256=written.files[DATA_NAME].sha256, near_copies=near_copies)
        holder, tags = find_holder(tracker, name), _tags(context, winner)
        version = tracker.register_set(
            folder,
            name,
            run_id=winner.run_id,
            tags=tags,
            card=(folder / CARD_NAME).read_text(encoding="utf-8"),
            scores=_scores(winner),
        )
        if output is not None:
            with replace_folder(output) as partial:
                shutil.copytree(folder, partial, dirs_exist_ok=True)
    is_best, note = compare_with_holder(tags, holder)
    if is_best:
        make_best(tracker, version, note)
    return replace(winner, set=f"{name}/{version.version}", is_best=is_best, note=note)


def fit_words(fitness: Fitness) -> str:
    """Whether a set is fit to be ``best``, as tags say it."""
    return FIT if fitness.fit else f"no: {fitness.words}"


def _full_manifest(context: RunContext, winner: WinnerResult) -> Manifest:
    """The manifest of a trial, with what only a winner is asked: copies, other architectures, all real data."""
    with context.clock.part("test"):
        leakage = check_leakage(winner.synthetic, context.train, context.compute)
    cross, full, random = None, None, winner.cross_random
    if winner.cross is not None and random is not None:
        cross = CrossRecord(
            n=winner.cross.num_seeds, distilled=winner.cross.metrics(), distilled_std=winner.cross.stds(),
            random=random.metrics(), random_std=random.stds(), random_n=random.num_seeds,
        )  # fmt: skip
    if winner.full:
        full = FullDataRecord(
            num_images=context.full_data.num_images,
            num_epochs=context.full_data.num_epochs,
            scores={split: ScoreRecord.of(score) for split, score in winner.full.items()},
        )
    more = {"leakage": LeakageRecord.model_validate(leakage.plain()), "cross": cross, "full_data": full,
            "faults": winner.fitness.faults, "warnings": winner.fitness.warnings}  # fmt: skip
    return _build_manifest(context.config.with_params(winner.params), context, winner).model_copy(update=more)


def _scores(winner: WinnerResult) -> dict[str, float]:
    """What orders versions on the registry's pages; its own prefix, since runs have more of the same."""
    scores = {"set/validation": winner.score.mean, "set/test": winner.test.mean,
              "set/random_test": winner.random_test.mean}  # fmt: skip
    return scores if winner.cross_mean is None else {**scores, "set/cross_mean": winner.cross_mean}


def _tags(context: RunContext, winner: WinnerResult) -> dict[str, str]:
    config, test = context.config, winner.test
    return {
        "method": config.method,
        "dataset": config.dataset,
        "ipc": str(config.ipc),
        "budget": config.budget,
        "metric": test.metric,
        "val_accuracy": repr(winner.score.mean),
        "test_accuracy": f"{test.mean:.4f}",
        "test_accuracy_std": f"{test.std:.4f}",
        "test_n": str(test.n),
        "random_test_accuracy": f"{winner.random_test.mean:.4f}",
        "fingerprint": context.splits.fingerprint,
        "sha256": winner.sha256,
        "near_copies": str(winner.near_copies),
        "random_n": str(winner.random.n),
        "fit": fit_words(winner.fitness),
        **({} if winner.cross_mean is None else {"cross_mean": f"{winner.cross_mean:.4f}"}),
    }


def log_trial_set(recorder: Recorder, result: TrialResult, config: RunConfig, context: RunContext) -> None:
    """Record the final grids and the set folder of a finished trial."""
    log_grid(recorder, result.synthetic, context.splits, config.distill.num_iterations)
    log_final_grid(recorder, result.synthetic, context.splits)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SET_FOLDER
        manifest = _build_manifest(config, context, result)
        write_set(path, result.synthetic, manifest, context.splits.preprocessing)
        recorder.log_file(path, SET_FOLDER)


def _build_manifest(config: RunConfig, context: RunContext, result: TrialResult) -> Manifest:
    """What a run knows of a set; sizes and hashes are filled in when it is written."""
    recipe = context.config.evaluation
    return Manifest(
        name=config.set_name,
        dataset=config.dataset,
        dataset_fingerprint=context.splits.fingerprint,
        dataset_licence=find_dataset(config.dataset).licence,
        method=config.method,
        config=config.plain(),
        config_digest=config.digest,
        evaluation={
            "preset": recipe.preset,
            **recipe.resolve().model_dump(mode="json"),
            "augmentation": context.splits.augmentation.model_dump(mode="json"),
            "model": context.config.model.model_dump(mode="json"),
        },
        seeds={"root": config.seed, "distill": context.distill_generators().seed},
        scores=result.records(),
        origin_run_id=result.run_id,
        versions={"study": __version__, "torch": torch.__version__, "python": platform.python_version()},
        git_commit=provenance().get("git_commit", ""),
    )
