"""Scoring a stored set again: fresh networks, real images, random real images beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from study.core.config import merge
from study.core.errors import CorruptSetError, DataError
from study.core.records import Score
from study.core.seeding import Generators
from study.evaluation.baselines import majority_rate, random_baseline
from study.evaluation.protocol import evaluate
from study.runs.configure import RunConfig, restore
from study.runs.events import Listener
from study.runs.recording import describe_run, recorded
from study.runs.sets import load_set
from study.runs.stores import StoreOptions, open_tracking
from study.runs.workspace import Workspace, open_workspace
from study.sets.files import StoredSet

__all__ = ["EvaluateOptions", "Evaluation", "evaluate_set"]

Split = Literal["validation", "test"]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score a set on, and how.

    Attributes:
        split: real images to classify; opening ``test`` is logged.
        num_seeds: fresh networks.
        seed: root of their initialisations; by default the seed of the set.
        overrides: nested settings over the set's own recipe, such as ``{"evaluation": {"lr": 0.05}}``.
    """

    split: Split = "validation"
    num_seeds: int = 5
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    stores: StoreOptions = field(default_factory=StoreOptions)


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set on one split; accuracies are fractions, deviations have ddof 1."""

    set: str
    dataset: str
    method: str
    ipc: int
    split: str
    model: str
    recipe: dict[str, Any]
    metric: str
    n: int
    distilled: dict[str, Any]
    random: dict[str, Any]
    majority_rate: float
    run_id: str

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


def evaluate_set(reference: str, options: EvaluateOptions, listener: Listener | None = None) -> Evaluation:
    """Train fresh networks on a stored set and score them beside random real images.

    Args:
        reference: registered name, run id or folder.
        options: split, seeds, recipe.
        listener: told of the stages.

    Raises:
        StudyError: the set is unknown or altered, or the real data is missing or differs from the
            data it was made from.
    """
    listener = listener or Listener()
    stored = load_set(reference, tracking_uri=options.stores.tracking_uri)
    config = _config(stored, options)
    listener.on_phase(f"loading {config.dataset}")
    workspace = open_workspace(config, options.stores.data_root)
    if workspace.splits.fingerprint != stored.manifest.dataset_fingerprint:
        raise DataError(
            f"{reference} was made from other {config.dataset} images (fingerprint "
            f"{stored.manifest.dataset_fingerprint[:12]}, here {workspace.splits.fingerprint[:12]})"
        )
    tracker = open_tracking(options.stores)
    with recorded(tracker, config, f"evaluate {stored.manifest.name}", kind="evaluate") as recorder:
        describe_run(recorder, config, workspace)
        recorder.set_tags({"study.set": reference, "study.split": options.split})
        distilled, random = _score(stored, workspace, options, reference, listener)
        prefix = "val" if options.split == "validation" else "test"
        recorder.log_metrics(
            {
                f"{prefix}/accuracy": distilled.mean,
                f"{prefix}/accuracy_std": distilled.std,
                f"{prefix}/gain_over_random": distilled.mean - random.mean,
                f"random/{prefix}_accuracy": random.mean,
                f"random/{prefix}_accuracy_std": random.std,
            }
        )
        run_id = recorder.run_id
    return Evaluation(
        set=reference,
        dataset=config.dataset,
        method=config.method,
        ipc=config.ipc,
        split=options.split,
        model=config.model.name,
        recipe=config.evaluation.resolve().model_dump(mode="json"),
        metric=distilled.metric,
        n=distilled.n,
        distilled=distilled.summary(),
        random=random.summary(),
        majority_rate=majority_rate(workspace.train),
        run_id=run_id,
    )


def _config(stored: StoredSet, options: EvaluateOptions) -> RunConfig:
    try:
        plain = dict(stored.manifest.config)
        # The set may have been made elsewhere; this machine decides how it computes.
        plain["compute"] = {**plain["compute"], "device": "auto", "precision": "auto"}
        return restore(merge(plain, options.overrides))
    except KeyError as error:
        raise CorruptSetError(f"the manifest of {stored.manifest.name} lacks {error}") from error


def _score(
    stored: StoredSet, workspace: Workspace, options: EvaluateOptions, reference: str, listener: Listener
) -> tuple[Score, Score]:
    if options.split == "test":
        real = workspace.splits.test.open(f"study evaluate {reference} --split test")
    else:
        real = workspace.validation
    config, compute, augmentation = workspace.config, workspace.compute, workspace.splits.augmentation
    root = workspace.generators if options.seed is None else Generators(options.seed, compute.device)
    generators = root.child("score", "evaluate")
    listener.on_phase(f"training {2 * options.num_seeds} networks")
    distilled = evaluate(
        stored.synthetic, real, config.model, config.evaluation, augmentation, compute, generators,
        num_seeds=options.num_seeds, expected_evaluations=2,
    )  # fmt: skip
    random = random_baseline(
        workspace.train, real, config.ipc, config.model, config.evaluation, augmentation, compute,
        generators.child("random"), num_draws=options.num_seeds, expected_evaluations=2,
    )  # fmt: skip
    return distilled, random
