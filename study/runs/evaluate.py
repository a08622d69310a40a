"""Scoring a stored set again: fresh networks of many architectures, random images and all real ones beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from study.core.errors import ConfigError
from study.evaluation.architectures import POOLS, build_pool, parse_model
from study.evaluation.baselines import majority_rate
from study.models.pool import ModelConfig
from study.runs.architecture_table import TABLE_NAME, ModelScores, score_pool
from study.runs.catalog.sets import load_set
from study.runs.context.callbacks import Callback
from study.runs.context.full_data import FullDataLine, full_data_line
from study.runs.context.recording import describe_run, recorded
from study.runs.context.run_context import open_context
from study.runs.context.stored_set import Split, check_fingerprint, open_bench, open_split, stored_config
from study.runs.context.stores import StoreOptions, open_tracking

__all__ = ["EvaluateOptions", "Evaluation", "evaluate_set"]


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
        full_data: train on all real images where their score is not kept yet; None does where it costs seconds.
    """

    split: Split = "validation"
    num_seeds: int = 5
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    stores: StoreOptions = field(default_factory=StoreOptions)
    pool: str = "full"
    models: Sequence[str] = ()
    full_data: bool | None = None

    def pool_models(self) -> list[ModelConfig]:
        """The networks asked for.

        Raises:
            ConfigError: an unknown pool or network, or a width that is no number.
        """
        if self.pool not in POOLS:
            raise ConfigError(f"pool = {self.pool!r}: must be one of {', '.join(POOLS)}")
        return [parse_model(words) for words in self.models or POOLS[self.pool]]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set on one split; accuracies are fractions, deviations have ddof 1.

    Attributes:
        model: the architecture it was distilled with, which ``distilled`` and ``random`` are of.
        architectures: one row for each network of the pool, and for the set's own.
        cross: ``<model>``, and ``mean`` and ``worst`` over the architectures it was not distilled with.
        random_cross: the same of random real images.
        whole: the set's own architecture trained on all real training images.
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
    whole: FullDataLine
    majority_rate: float
    architectures: list[ModelScores]
    cross: dict[str, float]
    random_cross: dict[str, float]
    left_out: dict[str, str]
    run_id: str

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


def evaluate_set(reference: str, options: EvaluateOptions, callback: Callback | None = None) -> Evaluation:
    """Train fresh networks on a stored set and score them beside random real images.

    The architecture the set was distilled with keeps the set's recipe. The others never use its step
    size or steps, and those without a norm get a learning rate chosen on validation with random real images.

    Args:
        reference: registered name, run id or folder.
        options: split, seeds, recipe, architectures.
        callback: told of the stages.

    Raises:
        StudyError: the set is unknown or altered, a network is unknown, or the real data is missing or
            differs from the data it was made from.
    """
    callback = callback or Callback()
    models = options.pool_models()
    stored = load_set(reference, tracking_uri=options.stores.tracking_uri, root=options.stores.root)
    config = stored_config(stored, options.overrides)
    callback.on_phase(f"loading {config.dataset}")
    context = open_context(config, options.stores.data_root)
    check_fingerprint(reference, stored, context)
    pool, left_out = build_pool(
        models, config.model, context.splits.image_shape, stored.synthetic.num_classes
    )
    if options.models and left_out:
        raise ConfigError(next(iter(left_out.values())))
    prefix = "val" if options.split == "validation" else "test"
    tracker = open_tracking(options.stores)
    with recorded(tracker, config, f"evaluate {stored.manifest.name}", kind="evaluate") as recorder:
        describe_run(recorder, config, context)
        recorder.set_tags({"study.set": reference, "study.split": options.split})
        real = open_split(context, options.split, f"study evaluate {reference} --split test")
        whole = full_data_line(context, options.split, lambda: real, options.full_data, callback)
        scored = score_pool(
            stored.synthetic, real, config.ipc, config.model, {config.model.name: config.model, **pool},
            open_bench(context, options.seed), options.num_seeds, callback,
        )  # fmt: skip
        recorder.log_metrics({**scored.metrics(prefix), **whole.metrics(prefix)})
        recorder.log_table(scored.table(), TABLE_NAME)
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
        whole=whole,
        majority_rate=majority_rate(context.train),
        architectures=scored.rows,
        cross=scored.distilled.metrics(),
        random_cross=scored.random.metrics(),
        left_out=left_out,
        run_id=run_id,
    )
