"""Set folders with their manifests, as every trial leaves one."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

import torch

from study import __version__
from study.data.datasets import find_dataset
from study.runs.config.configure import RunConfig
from study.runs.config.naming import set_name
from study.runs.context.run_context import RunContext
from study.runs.figures.images import log_final_grid, log_grid
from study.runs.registration.results import TrialResult
from study.sets.files import SET_FOLDER, write_set
from study.sets.manifest import Manifest
from study.tracking.base import Recorder
from study.tracking.provenance import provenance


def log_trial_set(recorder: Recorder, result: TrialResult, config: RunConfig, context: RunContext) -> None:
    """Record the final grids and the set folder of a finished trial."""
    log_grid(recorder, result.synthetic, context.splits, config.distill.num_iterations)
    log_final_grid(recorder, result.synthetic, context.splits)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SET_FOLDER
        manifest = build_manifest(config, context, result)
        write_set(path, result.synthetic, manifest, context.splits.preprocessing)
        recorder.log_file(path, SET_FOLDER)


def build_manifest(config: RunConfig, context: RunContext, result: TrialResult) -> Manifest:
    """What a run knows of a set; sizes and hashes are filled in when it is written."""
    recipe = context.config.evaluation
    return Manifest(
        name=set_name(config),
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
