"""Set folders with their manifests: logged with every trial, registered for the chosen one."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from study import __version__
from study.core.files import replace_folder
from study.core.records import Score, SyntheticSet
from study.data.datasets import find_dataset
from study.runs.config.configure import RunConfig
from study.runs.config.naming import set_name
from study.runs.context.full_data import full_data_record
from study.runs.context.run_context import RunContext
from study.runs.figures.images import log_final_grid, log_grid
from study.runs.leakage import leakage_record
from study.runs.trials.finalists import Candidate
from study.runs.trials.trial import TrialResult
from study.sets.files import CARD_NAME, DATA_NAME, SET_FOLDER, write_set
from study.sets.manifest import CrossRecord, Manifest, ScoreRecord
from study.tracking.base import Recorder, RegisteredSet, Tracker
from study.tracking.provenance import provenance
from study.tracking.references import BEST

__all__ = ["Registration", "SetScores", "log_trial_set", "register"]


@dataclass(frozen=True)
class SetScores:
    """Every score a set has earned, beside its baselines under the same recipe.

    ``whole`` holds by split what all real training images reach, where that is known.
    """

    validation: Score
    start: Score
    random: Score
    test: Score | None = None
    random_test: Score | None = None
    whole: Mapping[str, Score] = field(default_factory=dict)

    def records(self) -> dict[str, ScoreRecord]:
        """As a manifest holds them."""
        named = {
            "validation": self.validation,
            "start_validation": self.start,
            "random_validation": self.random,
            "test": self.test,
            "random_test": self.random_test,
        }
        return {name: ScoreRecord.of(score) for name, score in named.items() if score is not None}


@dataclass(frozen=True)
class Registration:
    """A registered version.

    Attributes:
        sha256: of its ``data.safetensors``.
        is_best: whether the alias ``best`` points at it.
        note: why, in words.
        near_copies: images that lie as near to a training image as a copy would.
    """

    name: str
    version: str
    sha256: str
    is_best: bool
    note: str
    near_copies: int


def log_trial_set(
    recorder: Recorder, result: TrialResult, config: RunConfig, context: RunContext, random: Score
) -> None:
    """Record the final grids and the set folder of a finished trial."""
    log_grid(recorder, result.synthetic, context.splits, config.distill.num_iterations)
    log_final_grid(recorder, result.synthetic, context.splits)
    scores = SetScores(result.score, result.start_score, random)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SET_FOLDER
        manifest = _manifest(config, context, scores, recorder.run_id)
        write_set(path, _on_cpu(result.synthetic), manifest, context.splits.preprocessing)
        recorder.log_file(path, SET_FOLDER)


def register(
    tracker: Tracker, context: RunContext, candidate: Candidate, scores: SetScores, output: Path | None
) -> Registration:
    """Register a set as a new version; it becomes ``best`` if it beats the holder on validation.

    Args:
        tracker: the registry.
        context: where the set was made.
        candidate: the set.
        scores: with the test scores.
        output: folder for a copy, or None.
    """
    config = context.config.with_params(candidate.params)
    name = set_name(context.config)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        leakage = leakage_record(context, candidate.synthetic)
        manifest = _manifest(config, context, scores, candidate.run_id).model_copy(
            update={
                "leakage": leakage,
                "cross": _cross_record(context, candidate.cross),
                "full_data": full_data_record(context, scores.whole),
            }
        )
        written = write_set(folder, _on_cpu(candidate.synthetic), manifest, context.splits.preprocessing)
        sha256 = written.files[DATA_NAME].sha256
        holder = _holder(tracker, name)
        version = tracker.register_set(
            folder,
            name,
            run_id=candidate.run_id,
            tags={
                **_tags(context, candidate, scores, sha256),
                "near_copies": str(leakage.num_near_copies),
            },
            card=(folder / CARD_NAME).read_text(encoding="utf-8"),
        )
        if output is not None:
            with replace_folder(output) as partial:
                shutil.copytree(folder, partial, dirs_exist_ok=True)
    is_best, note = _compare(holder, candidate.score.mean, context)
    if is_best:
        tracker.set_alias(name, BEST, version.version)
    return Registration(name, version.version, sha256, is_best, note, leakage.num_near_copies)


def _holder(tracker: Tracker, name: str) -> RegisteredSet | None:
    return next((version for version in tracker.list_sets(name) if BEST in version.aliases), None)


def _compare(holder: RegisteredSet | None, mean: float, context: RunContext) -> tuple[bool, str]:
    if holder is None:
        return True, f"first of its name, so the alias {BEST} points at it"
    known = float(holder.tags.get("val_accuracy", "nan"))
    if holder.tags.get("fingerprint") != context.splits.fingerprint:
        return True, f"version {holder.version} was made from other data, so the alias {BEST} moves here"
    if mean > known:
        return True, f"beats version {holder.version} on validation, {known:.4f}: the alias {BEST} moves here"
    return False, f"version {holder.version} stays {BEST} with {known:.4f} on validation"


def _tags(context: RunContext, candidate: Candidate, scores: SetScores, sha256: str) -> dict[str, str]:
    config = context.config
    assert scores.test is not None
    assert scores.random_test is not None
    return {
        "method": config.method,
        "dataset": config.dataset,
        "ipc": str(config.ipc),
        "budget": config.budget,
        "metric": scores.test.metric,
        "val_accuracy": repr(candidate.score.mean),
        "test_accuracy": f"{scores.test.mean:.4f}",
        "test_accuracy_std": f"{scores.test.std:.4f}",
        "test_n": str(scores.test.n),
        "random_test_accuracy": f"{scores.random_test.mean:.4f}",
        "fingerprint": context.splits.fingerprint,
        "sha256": sha256,
    }


def _cross_record(context: RunContext, cross: Mapping[str, float]) -> CrossRecord | None:
    """What the trial measured on other architectures, random real images beside it."""
    if not cross or context.cross is None:
        return None
    random = context.cross.random.metrics()
    return CrossRecord(n=context.cross.num_seeds, distilled=dict(cross), random=random)


def _manifest(config: RunConfig, context: RunContext, scores: SetScores, run_id: str) -> Manifest:
    code = provenance()
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
        scores=scores.records(),
        origin_run_id=run_id,
        versions={"study": __version__, "torch": torch.__version__, "python": platform.python_version()},
        git_commit=code.get("git_commit", ""),
    )


def _on_cpu(synthetic: SyntheticSet) -> SyntheticSet:
    return synthetic.to(torch.device("cpu"))
