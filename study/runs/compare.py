"""Two sets against each other: the same recipe, the same evaluation seeds, and how sure the difference is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from study.core.errors import ConfigError
from study.core.reporting import listening
from study.evaluation.statistics import PairedComparison, compare_scores
from study.protocols.architectures import describe_score
from study.protocols.base import EvaluateOptions
from study.runs.catalog.sets import load_set
from study.runs.context.callbacks import Callback
from study.runs.context.recording import describe_run, recorded
from study.runs.context.run_context import open_context
from study.runs.context.saved import check_comparable, check_fingerprint, config_in_space_of, stored_config
from study.runs.context.stores import StoreOptions, open_tracking


@dataclass(frozen=True)
class SetComparison:
    """Two sets on the same evaluation seeds; accuracies are fractions, deviations have ddof 1.

    Attributes:
        sets: the references as asked, first and second.
        recipe: of the first set; both are trained on by it.
        scores: mean, deviation, n, values and bootstrap interval of each.
        difference: first minus second, seed by seed: mean, deviation, n and bootstrap interval.
        p_value: two-sided, of the sign-flip test over the pairs.
        smallest_p_value: what so many pairs can reach at best.

    Example:
        >>> import study
        >>> one, two = (study.distill("random", budget="smoke", seed=seed).winner.set for seed in (0, 1))
        >>> found = study.compare(one, two, seeds=2)
        >>> found.difference["n"], found.smallest_p_value
        (2, 0.5)
    """

    sets: tuple[str, str]
    dataset: str
    ipc: tuple[int, int]
    split: str
    model: str
    recipe: dict[str, Any]
    metric: str
    scores: tuple[dict[str, Any], dict[str, Any]]
    difference: dict[str, Any]
    p_value: float
    smallest_p_value: float
    run_id: str

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


def compare_sets(
    first: str,
    second: str,
    options: EvaluateOptions,
    stores: StoreOptions | None = None,
    callback: Callback | None = None,
) -> SetComparison:
    """Train on two sets with the same networks at the start and the same recipe, and compare seed by seed.

    Recipe, architecture and seeds are those of the first set; of the second only the preprocessing is kept, since
    its images live in that space. Of ``options`` split, seeds and recipe are used.

    Raises:
        ConfigError: the sets cannot be compared, or there are fewer than two seeds.
        StudyError: a set is unknown or altered, or the real data is missing.
    """
    stores, callback = stores or StoreOptions(), callback or Callback()
    if options.num_seeds < 2:
        raise ConfigError(f"num_seeds = {options.num_seeds}: a paired comparison needs at least 2")
    stored = [load_set(reference, stores) for reference in (first, second)]
    config = stored_config(stored[0], options.overrides)
    other = stored_config(stored[1], {})
    check_comparable(first, config, second, other)
    configs = (config, config_in_space_of(config, other))
    callback.on_phase(f"loading {config.dataset}")
    with listening(callback.on_work):
        contexts = [open_context(settings, stores.data_root) for settings in configs]
    for reference, one, context in zip((first, second), stored, contexts, strict=True):
        check_fingerprint(reference, one, context)
    tracker = open_tracking(stores)
    with (
        listening(callback.on_work),
        recorded(tracker, config, f"compare {first} {second}", kind="compare") as recorder,
    ):
        describe_run(recorder, config, contexts[0])
        recorder.set_tags({"study.first": first, "study.second": second, "study.split": options.split})
        scores = []
        for reference, one, context in zip((first, second), stored, contexts, strict=True):
            callback.on_phase(f"training {options.num_seeds} networks on {reference}")
            evaluator = context.evaluator("score", "evaluate", seed=options.seed, expected_scores=2)
            if options.split == "test":
                real = context.splits.test.open(f"study compare {reference} --split test")
                evaluator = evaluator.changed(real=real.to(context.compute.device))
            scores.append(evaluator.score(one.synthetic, options.num_seeds))
        judge = contexts[0].evaluator("score", "evaluate", seed=options.seed)
        statistics = judge.generators.child("statistics")
        comparison = compare_scores(scores[0], scores[1], statistics["difference"])
        means = {"compare/first": scores[0].mean, "compare/second": scores[1].mean}
        recorder.log_metrics({**means, **_metrics(comparison)})
        run_id = recorder.run_id
    return SetComparison(
        sets=(first, second),
        dataset=config.dataset,
        ipc=(config.ipc, other.ipc),
        split=options.split,
        model=config.model.name,
        recipe=config.evaluation.resolve().model_dump(mode="json"),
        metric=scores[0].metric,
        scores=(
            describe_score(scores[0], statistics.child("first")),
            describe_score(scores[1], statistics.child("second")),
        ),
        difference=asdict(comparison.difference),
        p_value=comparison.p_value,
        smallest_p_value=comparison.smallest_p_value,
        run_id=run_id,
    )


def _metrics(comparison: PairedComparison) -> Mapping[str, float]:
    difference = comparison.difference
    metrics = {
        "compare/difference": difference.mean,
        "compare/difference_std": difference.std,
        "compare/num_seeds": float(difference.n),
        "compare/p_value": comparison.p_value,
    }
    if difference.low is not None and difference.high is not None:
        metrics.update({"compare/difference_low": difference.low, "compare/difference_high": difference.high})
    return metrics
