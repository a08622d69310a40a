"""Scoring a stored set again: fresh networks of many architectures, real images, random ones beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from study.core.config import merge
from study.core.errors import ConfigError, CorruptSetError, DataError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.evaluation.architectures import POOLS, Bench, Contender, CrossScore, build_pool, parse_model
from study.evaluation.baselines import majority_rate
from study.evaluation.statistics import summarize
from study.models.pool import ModelConfig
from study.runs.configure import RunConfig, restore
from study.runs.events import Listener
from study.runs.recording import describe_run, recorded
from study.runs.sets import load_set
from study.runs.stores import StoreOptions, open_tracking
from study.runs.workspace import Workspace, open_workspace
from study.sets.files import StoredSet

__all__ = [
    "EvaluateOptions",
    "Evaluation",
    "ModelScores",
    "check_fingerprint",
    "describe_score",
    "evaluate_set",
    "open_bench",
    "open_split",
    "stored_config",
]

Split = Literal["validation", "test"]
TABLE_NAME = "architectures.json"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score a set on, and how.

    Attributes:
        split: real images to classify; opening ``test`` is logged.
        num_seeds: fresh networks of each architecture.
        seed: root of their initialisations; by default the seed of the set.
        overrides: nested settings over the set's own recipe, such as ``{"evaluation": {"lr": 0.05}}``.
        pool: architectures beside the set's own: ``none``, ``quick`` or ``full``.
        models: architectures as ``name`` or ``name:width``, in place of ``pool``.
    """

    split: Split = "validation"
    num_seeds: int = 5
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    stores: StoreOptions = field(default_factory=StoreOptions)
    pool: str = "full"
    models: Sequence[str] = ()

    def pool_models(self) -> list[ModelConfig]:
        """The networks asked for.

        Raises:
            ConfigError: an unknown pool or network, or a width that is no number.
        """
        if self.pool not in POOLS:
            raise ConfigError(f"pool = {self.pool!r}: must be one of {', '.join(POOLS)}")
        return [parse_model(words) for words in self.models or POOLS[self.pool]]


@dataclass(frozen=True)
class ModelScores:
    """One row of the table of architectures.

    Attributes:
        is_own: whether the set was distilled with this architecture.
        lr: learning rate at the start; ``None`` where the set's own step size or steps are used.
        distilled: mean, deviation, n, values and bootstrap interval of the set.
        random: the same of random real images.
    """

    model: str
    width: int | None
    is_own: bool
    lr: float | None
    distilled: dict[str, Any]
    random: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set on one split; accuracies are fractions, deviations have ddof 1.

    Attributes:
        model: the architecture it was distilled with, which ``distilled`` and ``random`` are of.
        architectures: one row for each network of the pool, and for the set's own.
        cross: ``<model>``, and ``mean`` and ``worst`` over the architectures it was not distilled with.
        random_cross: the same of random real images.
        left_out: architectures that do not fit these images, and why.
    """

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
    architectures: list[ModelScores]
    cross: dict[str, float]
    random_cross: dict[str, float]
    left_out: dict[str, str]
    run_id: str

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


def evaluate_set(reference: str, options: EvaluateOptions, listener: Listener | None = None) -> Evaluation:
    """Train fresh networks on a stored set and score them beside random real images.

    The architecture the set was distilled with keeps the set's recipe. The others never use its step
    size or steps, and those without a norm get a learning rate chosen on validation with random real images.

    Args:
        reference: registered name, run id or folder.
        options: split, seeds, recipe, architectures.
        listener: told of the stages.

    Raises:
        StudyError: the set is unknown or altered, a network is unknown, or the real data is missing or
            differs from the data it was made from.
    """
    listener = listener or Listener()
    models = options.pool_models()
    stored = load_set(reference, tracking_uri=options.stores.tracking_uri)
    config = stored_config(stored, options.overrides)
    listener.on_phase(f"loading {config.dataset}")
    workspace = open_workspace(config, options.stores.data_root)
    check_fingerprint(reference, stored, workspace)
    pool, left_out = build_pool(
        models, config.model, workspace.splits.image_shape, stored.synthetic.num_classes
    )
    if options.models and left_out:
        raise ConfigError(next(iter(left_out.values())))
    tracker = open_tracking(options.stores)
    with recorded(tracker, config, f"evaluate {stored.manifest.name}", kind="evaluate") as recorder:
        describe_run(recorder, config, workspace)
        recorder.set_tags({"study.set": reference, "study.split": options.split})
        real = open_split(workspace, options.split, f"study evaluate {reference} --split test")
        scored = _score_pool(stored.synthetic, workspace, real, {config.model.name: config.model, **pool},
                             options, listener)  # fmt: skip
        recorder.log_metrics(scored.metrics("val" if options.split == "validation" else "test"))
        recorder.log_table([_flat(row) for row in scored.rows], TABLE_NAME)
        run_id = recorder.run_id
    own = next(row for row in scored.rows if row.is_own)
    return Evaluation(
        set=reference,
        dataset=config.dataset,
        method=config.method,
        ipc=config.ipc,
        split=options.split,
        model=config.model.name,
        recipe=config.evaluation.resolve().model_dump(mode="json"),
        metric=own.distilled["metric"],
        n=own.distilled["n"],
        distilled=own.distilled,
        random=own.random,
        majority_rate=majority_rate(workspace.train),
        architectures=scored.rows,
        cross=scored.distilled.metrics(),
        random_cross=scored.random.metrics(),
        left_out=left_out,
        run_id=run_id,
    )


def stored_config(stored: StoredSet, overrides: Mapping[str, Any]) -> RunConfig:
    """The configuration a set was made under, for this machine, with settings laid over it.

    Raises:
        CorruptSetError: its manifest lacks a part.
        ConfigError: an override is no setting.
    """
    try:
        plain = dict(stored.manifest.config)
        # The set may have been made elsewhere; this machine decides how it computes.
        plain["compute"] = {**plain["compute"], "device": "auto", "precision": "auto"}
        return restore(merge(plain, overrides))
    except KeyError as error:
        raise CorruptSetError(f"the manifest of {stored.manifest.name} lacks {error}") from error


def check_fingerprint(reference: str, stored: StoredSet, workspace: Workspace) -> None:
    """Refuse to score a set on other real data than it was made from.

    Raises:
        DataError: the fingerprints differ.
    """
    if workspace.splits.fingerprint != stored.manifest.dataset_fingerprint:
        raise DataError(
            f"{reference} was made from other {workspace.config.dataset} images (fingerprint "
            f"{stored.manifest.dataset_fingerprint[:12]}, here {workspace.splits.fingerprint[:12]})"
        )


def open_split(workspace: Workspace, split: Split, reason: str) -> ImageDataset:
    """The real images of a split, on the device; ``test`` is opened for a reason that is logged."""
    if split == "test":
        return workspace.splits.test.open(reason).to(workspace.compute.device)
    return workspace.validation


def open_bench(workspace: Workspace, seed: int | None) -> Bench:
    """What the scores of one set, or of two to be compared, share."""
    config, compute = workspace.config, workspace.compute
    root = workspace.generators if seed is None else Generators(seed, compute.device)
    return Bench(
        workspace.train, workspace.validation, config.evaluation, workspace.splits.augmentation, compute,
        root.child("score", "evaluate"),
    )  # fmt: skip


@dataclass(frozen=True)
class _Scored:
    distilled: CrossScore
    random: CrossScore
    rows: list[ModelScores]

    def metrics(self, prefix: str) -> dict[str, float]:
        """What the run records: the set's own architecture under the split, the others under ``cross``."""
        distilled, random = (cross.scores[cross.own] for cross in (self.distilled, self.random))
        metrics = {
            f"{prefix}/accuracy": distilled.mean,
            f"{prefix}/accuracy_std": distilled.std,
            f"{prefix}/gain_over_random": distilled.mean - random.mean,
            f"random/{prefix}_accuracy": random.mean,
            f"random/{prefix}_accuracy_std": random.std,
        }
        metrics.update({f"cross/{name}": value for name, value in self.distilled.metrics().items()})
        metrics.update({f"random/cross_{name}": value for name, value in self.random.metrics().items()})
        return metrics


def _score_pool(
    synthetic: SyntheticSet, workspace: Workspace, real: ImageDataset, pool: Mapping[str, ModelConfig],
    options: EvaluateOptions, listener: Listener,
) -> _Scored:  # fmt: skip
    bench, ipc = open_bench(workspace, options.seed), workspace.config.ipc
    own, count = workspace.config.model, options.num_seeds
    distilled: dict[str, Score] = {}
    random: dict[str, Score] = {}
    rows = []
    for name, model in pool.items():
        listener.on_phase(f"training {2 * count} networks of {name}")
        contender = bench.contender(name, model, own, ipc)
        distilled[name] = bench.score(synthetic, real, contender, count)
        random[name] = bench.random_score(real, ipc, contender, count)
        rows.append(_row(contender, synthetic, distilled[name], random[name], bench.generators))
    return _Scored(CrossScore(distilled, own.name), CrossScore(random, own.name), rows)


def _row(
    contender: Contender, synthetic: SyntheticSet, distilled: Score, random: Score, generators: Generators
) -> ModelScores:
    recipe = contender.config.resolve()
    learned = recipe.use_learned_step_size and synthetic.step_size is not None
    learned |= recipe.use_schedule and synthetic.schedule is not None
    return ModelScores(
        model=contender.name,
        width=contender.model.width,
        is_own=contender.is_own,
        lr=None if learned else recipe.lr,
        distilled=describe_score(distilled, generators.child("interval", contender.name, "distilled")),
        random=describe_score(random, generators.child("interval", contender.name, "random")),
    )


def describe_score(score: Score, generators: Generators) -> dict[str, Any]:
    """A score's summary with the bootstrap interval of its mean."""
    interval = summarize(score.values, generators["bootstrap"])
    bounds = {"low": interval.low, "high": interval.high, "confidence": interval.confidence}
    return {**score.summary(), **bounds}


def _flat(row: ModelScores) -> dict[str, object]:
    """A row for the table of the UI, one value a cell."""
    plain: dict[str, object] = {"model": row.model, "distilled with it": row.is_own, "lr": row.lr}
    for name, scores in (("distilled", row.distilled), ("random", row.random)):
        plain.update({f"{name} {key}": scores[key] for key in ("mean", "std", "low", "high")})
    return {**plain, "n": row.distilled["n"]}
