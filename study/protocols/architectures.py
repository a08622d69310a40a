"""Architectures: does a set teach networks that it was not distilled with?"""

from __future__ import annotations

from typing import Any, ClassVar

from study.core.errors import ConfigError
from study.core.records import Score
from study.core.seeding import Generators
from study.evaluation.architectures import (
    POOLS,
    ArchitecturePool,
    CrossScore,
    PoolModel,
    build_pool,
    parse_model,
)
from study.evaluation.baselines import majority_rate
from study.evaluation.statistics import summarize
from study.models.pool import ModelConfig
from study.protocols.base import DISTILLED, RANDOM, EvaluateOptions, Findings, Protocol, Session, register
from study.protocols.figures import draw_models

COLUMNS = {
    "model": "architecture", "own": "own", "distilled": "distilled", "random": "random real images", "n": "n",
    "learning_rate": "learning rate",
}  # fmt: skip
MAX_UNASKED_SECONDS = 20.0
"""Up to that expected price networks are trained on all real data without being asked to."""


@register
class Architectures(Protocol):
    """Networks of every architecture of a pool, random real images and all real data beside.

    The architecture the set was distilled with keeps the set's recipe. The others never use its step size or
    steps, and those without a norm get a learning rate chosen on validation with random real images.
    """

    name: ClassVar[str] = "architectures"
    about: ClassVar[str] = "the set's own network and others, beside random real images; the default"
    takes: ClassVar[tuple[str, ...]] = ("pool", "models", "full_data")

    def check(self, options: EvaluateOptions) -> None:
        """As in the base class; unknown pools and networks are refused too."""
        super().check(options)
        _models(options)

    def measure(self, session: Session) -> Findings:
        """One row an architecture; mean and worst leave out the set's own."""
        options, evaluator = session.options, session.evaluator
        own, train = evaluator.model, evaluator.train
        models, unfit = build_pool(_models(options), own, train.image_shape, train.num_classes)
        if options.models and unfit:
            raise ConfigError(next(iter(unfit.values())))
        full = _score_full_data(session)
        pool = ArchitecturePool(
            evaluator, {own.name: own, **models}, session.ipc, session.num_seeds, session.on_validation.real,
            session.num_random,
        )  # fmt: skip

        def score(name: str) -> tuple[PoolModel, Score, Score]:
            member = pool.member(name)
            num_random = session.num_random.get(name, session.num_seeds)
            session.report(f"training {session.num_seeds + num_random} networks of {name}")
            return member, pool.score_on(member, session.synthetic), pool.random_on(member)

        found = pool.side_by_side(score)
        made = CrossScore({name: distilled for name, (_, distilled, _) in found.items()}, own.name)
        random = CrossScore({name: score for name, (_, _, score) in found.items()}, own.name)
        rows = [_row(session, *scores) for scores in found.values()]
        metric = made.scores[own.name].metric.replace("_", " ")
        figure = draw_models(
            {name: {DISTILLED: made.scores[name], RANDOM: random.scores[name]} for name in found},
            ylabel=metric,
            title=f"{session.name} on {options.split}; distilled with {own.name}",
        )
        return Findings(
            metrics={**_metrics(session, made, random, full), "majority_rate": majority_rate(train)},
            rows=rows,
            columns=COLUMNS,
            totals=_totals(session, made, random, full),
            figures={"architectures.png": figure},
            notes=_notes(session, metric, rows, full, unfit),
        )


def _models(options: EvaluateOptions) -> list[ModelConfig]:
    """The networks asked for.

    Raises:
        ConfigError: an unknown pool or network, or a width that is no number.
    """
    pool = options.pool or "full"
    if pool not in POOLS:
        raise ConfigError(f"pool = {pool!r}: must be one of {', '.join(POOLS)}")
    return [parse_model(words) for words in options.models or POOLS[pool]]


def _score_full_data(session: Session) -> Score | None:
    """The score of all real training data: from the cache, or trained now if that is wanted; else None."""
    data, split, wanted = session.full_data, session.options.split, session.options.full_data
    score = data.find(split)
    if score is None and (data.expected_seconds <= MAX_UNASKED_SECONDS if wanted is None else wanted):
        session.report(
            f"training {data.config.num_seeds} networks on all {data.num_images:,} training images, "
            f"{data.num_epochs} epochs"
        )
        score = data.score(split, lambda: session.real)
    return score


def _row(session: Session, member: PoolModel, distilled: Score, random: Score) -> dict[str, Any]:
    synthetic, recipe = session.synthetic, member.config.resolve()
    learned = recipe.use_learned_step_size and synthetic.step_size is not None
    learned |= recipe.use_schedule and synthetic.schedule is not None
    generators = session.evaluator.generators
    row: dict[str, Any] = {"model": member.name, "width": member.model.width, "own": member.is_own}
    for name, score in (("distilled", distilled), ("random", random)):
        about = describe_score(score, generators.child("interval", member.name, name))
        row[name] = about["mean"]
        row.update({f"{name}_{key}": about[key] for key in ("std", "low", "high", "values")})
    return {**row, "n": distilled.n, "random_n": random.n, "learning_rate": None if learned else recipe.lr}


def describe_score(score: Score, generators: Generators) -> dict[str, Any]:
    """A score's summary with the bootstrap interval of its mean."""
    interval = summarize(score.values, generators["bootstrap"])
    bounds = {"low": interval.low, "high": interval.high, "confidence": interval.confidence}
    return {**score.summary(), **bounds}


def _metrics(session: Session, made: CrossScore, random: CrossScore, full: Score | None) -> dict[str, float]:
    """The set's own architecture under the split, the others under ``cross``."""
    prefix = "val" if session.options.split == "validation" else "test"
    distilled, baseline = made.scores[made.own], random.scores[random.own]
    metrics = {
        f"{prefix}/accuracy": distilled.mean,
        f"{prefix}/accuracy_std": distilled.std,
        f"{prefix}/gain_over_random": distilled.mean - baseline.mean,
        f"random/{prefix}_accuracy": baseline.mean,
        f"random/{prefix}_accuracy_std": baseline.std,
        "random/num_seeds": float(baseline.n),
    }
    metrics.update({f"cross/{name}": value for name, value in made.metrics().items()})
    metrics.update({f"random/cross_{name}": value for name, value in random.metrics().items()})
    return (
        metrics if full is None else {**metrics, **session.full_data.metrics({session.options.split: full})}
    )


def _totals(
    session: Session, made: CrossScore, random: CrossScore, full: Score | None
) -> list[dict[str, Any]]:
    totals: list[dict[str, Any]] = []
    if made.others:
        totals += [
            {"model": "mean of the others", "distilled": made.mean, "random": random.mean},
            {"model": "worst of the others", "distilled": made.worst, "random": random.worst},
        ]
    if full is not None:
        data = session.full_data
        totals.append(
            {"model": f"{made.own} on {data.label}", "distilled": full.mean, "distilled_std": full.std,
             "n": full.n, "learning_rate": data.config.resolve().lr}
        )  # fmt: skip
    return totals


def _notes(
    session: Session, metric: str, rows: list[dict[str, Any]], full: Score | None, unfit: dict[str, str]
) -> list[str]:
    always = majority_rate(session.evaluator.train)
    notes = [
        f"{metric}; mean and worst leave out the architecture it was distilled with (own); "
        f"always the largest class: {100 * always:.1f} %"
    ]
    more = [f"{row['model']} {row['random_n']}" for row in rows if row["random_n"] != row["n"]]
    if more:
        notes.append(f"draws of random real images, where not n: {', '.join(more)}")
    if any(row["learning_rate"] is None for row in rows):
        notes.append("no learning rate: the set's own step size or steps are used")
    if full is None:
        seconds = session.full_data.expected_seconds
        price = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        notes.append(
            f"{session.full_data.label}: not known here; --full-data trains on it once, about {price}"
        )
    return [*notes, *(f"{name} left out: {reason}" for name, reason in unfit.items())]
