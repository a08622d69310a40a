"""Ranking: the two scores of DD-Ranking. What is left of a set without soft labels, and without augmentation?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

from study.core.errors import ConfigError
from study.core.records import Score
from study.evaluation.full_data import FullData
from study.protocols.base import DISTILLED, RANDOM, Findings, Protocol, Session, register, score_row
from study.protocols.figures import draw_bars

DD_RANKING_EPOCHS = 200
"""How long DD-Ranking trains on all real data; a shorter training flatters the set."""

ANCHOR = "0.2689 is the score of a set that neither loses to real data nor beats random images; 1 is the best"


@register
class Ranking(Protocol):
    """LRS and ARS from scores under the set's own recipe, with hard labels, and with and without augmentation."""

    name: ClassVar[str] = "ranking"
    about: ClassVar[str] = "label-robust and augmentation-robust scores (LRS, ARS)"
    takes: ClassVar[tuple[str, ...]] = ("full_data",)

    def measure(self, session: Session) -> Findings:
        """LRS and ARS, with the accuracies behind them."""
        soft = session.synthetic.logits is not None
        found = _score_recipes(session)
        hard = found["own recipe"][0]
        if soft and session.evaluator.config.resolve().use_soft_labels:
            session.report("training with hard labels")
            evaluator = session.evaluator.with_recipe(use_soft_labels=False)
            hard = evaluator.score(session.synthetic, session.num_seeds)
        session.report("training on all real data, unless that is cached")
        whole = full_data_of(session)
        full = whole.score(session.options.split, lambda: session.real)
        lrs = label_robust_score(
            real_hard=full.mean,
            synthetic_hard=hard.mean,
            synthetic_own=found["own recipe"][0].mean,
            random_own=found["own recipe"][1].mean,
        )
        augmented, plain = found["augmented"], found["not augmented"]
        ars = augmentation_robust_score(
            synthetic_augmented=augmented[0].mean,
            random_augmented=augmented[1].mean,
            synthetic_plain=plain[0].mean,
            random_plain=plain[1].mean,
        )
        rows: list[dict[str, Any]] = [
            {
                "trained_on": "whole data",
                "recipe": f"{whole.num_epochs} epochs",
                **score_row(full),
            },
            {"trained_on": DISTILLED, "recipe": "hard labels", **score_row(hard)},
        ]
        for name, pair in found.items():
            rows += [
                {"trained_on": who, "recipe": name, **score_row(score)}
                for who, score in zip((DISTILLED, RANDOM), pair, strict=True)
            ]
        metrics = {"ranking/lrs": lrs.pop("score"), "ranking/ars": ars.pop("score"),
                   **{f"ranking/{name}": value for name, value in {**lrs, **ars}.items()},
                   "ranking/full_data_accuracy": full.mean}  # fmt: skip
        bars = {name: {DISTILLED: pair[0].mean, RANDOM: pair[1].mean} for name, pair in found.items()}
        lrs_and_ars = f"LRS {metrics['ranking/lrs']:.3f} and ARS {metrics['ranking/ars']:.3f}"
        figure = draw_bars(bars, title=f"{session.name}: accuracies behind {lrs_and_ars}")
        trained = f"all real data was trained on for {whole.num_epochs} epochs"
        if whole.num_epochs < DD_RANKING_EPOCHS:
            trained += (
                f", in DD-Ranking for {DD_RANKING_EPOCHS}, which favours the set; --full-data trains as long"
            )
        notes = [ANCHOR, trained]
        if soft:
            notes.append("random images have hard labels, which favours a set with soft ones")
        return Findings(metrics, rows, figures={"ranking.png": figure}, notes=notes)


def full_data_of(session: Session) -> FullData:
    """All real data, trained on as long as in DD-Ranking where that is asked for or the set is a published run's."""
    wanted = session.options.full_data
    if wanted is None:
        wanted = session.stored.manifest.config.get("budget") == "paper"
    if not wanted:
        return session.full_data
    longer = session.full_data.config.model_copy(update={"num_epochs": DD_RANKING_EPOCHS})
    return replace(session.full_data, config=longer)


def _score_recipes(session: Session) -> dict[str, tuple[Score, Score]]:
    """Scores of the set and of random images by recipe; a recipe that stands for two is trained once."""
    own = session.evaluator
    recipes = {"own recipe": own, "augmented": own.with_recipe(augment=True),
               "not augmented": own.with_recipe(augment=False)}  # fmt: skip
    found: dict[str, tuple[Score, Score]] = {}
    known: dict[object, tuple[Score, Score]] = {}
    for name, evaluator in recipes.items():
        resolved = evaluator.config.resolve()
        if resolved not in known:
            session.report(f"training {2 * session.num_seeds} networks, {name}")
            known[resolved] = (
                evaluator.score(session.synthetic, session.num_seeds),
                evaluator.random(session.ipc, session.num_seeds),
            )
        found[name] = known[resolved]
    return found


def label_robust_score(
    *, real_hard: float, synthetic_hard: float, synthetic_own: float, random_own: float, weight: float = 0.5
) -> dict[str, float]:
    """LRS of a synthetic set: how much of its accuracy is its images', not its soft labels'.

    Args:
        real_hard: accuracy of networks trained on the whole real set, hard labels.
        synthetic_hard: accuracy of networks trained on the synthetic images, hard labels.
        synthetic_own: accuracy under the method's own labels, loss and augmentation.
        random_own: accuracy of as many random real images under that same recipe.
        weight: share of the improvement over random images, in [0, 1]; the rest is the recovery's.

    Returns:
        ``hard_label_recovery`` (HLR, real minus synthetic with hard labels; lower is better),
        ``improvement_over_random`` (IOR; higher is better) and their ``score`` in [0, 1]; 0.2689 for a set that
        neither loses to the real one nor beats random images.

    Raises:
        ConfigError: an accuracy or the weight is no fraction, such as a percentage.

    Source: Li et al. 2025, "DD-Ranking". Its package, version 0.2, puts percentages into the exponential and
        chooses learning rates on the test set; only the formula is used here.
    """
    _check_fractions(
        real_hard=real_hard, synthetic_hard=synthetic_hard, synthetic_own=synthetic_own, random_own=random_own,
        weight=weight,
    )  # fmt: skip
    recovery, improvement = real_hard - synthetic_hard, synthetic_own - random_own
    score = _to_unit(weight * improvement - (1 - weight) * recovery)
    return {"hard_label_recovery": recovery, "improvement_over_random": improvement, "score": score}


def augmentation_robust_score(
    *,
    synthetic_augmented: float,
    random_augmented: float,
    synthetic_plain: float,
    random_plain: float,
    weight: float = 0.5,
) -> dict[str, float]:
    """ARS of a synthetic set: how much of its lead over random real images survives without augmentation.

    Takes accuracies of networks trained on the set and on as many random real images, with augmentation and
    without; ``weight`` is the share of the augmented pair, in [0, 1] (Greek gamma).

    Returns:
        ``improvement_augmented`` and ``improvement_plain``, synthetic minus random, and their ``score`` in [0, 1];
        0.2689 for a set that is no better than random images.

    Raises:
        ConfigError: an accuracy or the weight is no fraction, such as a percentage.

    Source: as for :func:`label_robust_score`.
    """
    _check_fractions(
        synthetic_augmented=synthetic_augmented, random_augmented=random_augmented,
        synthetic_plain=synthetic_plain, random_plain=random_plain, weight=weight,
    )  # fmt: skip
    augmented, plain = synthetic_augmented - random_augmented, synthetic_plain - random_plain
    score = _to_unit(weight * augmented + (1 - weight) * plain)
    return {"improvement_augmented": augmented, "improvement_plain": plain, "score": score}


def _to_unit(advantage: float) -> float:
    """Map [-1, 1] onto [0, 1], steeper towards the good end: -1 to 0, 0 to 0.2689, 1 to 1."""
    lowest = math.exp(-1)
    return (math.exp(advantage) - lowest) / (math.e - lowest)


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ConfigError(
                f"{name} = {value:g}: must be a fraction between 0 and 1; divide percentages by 100"
            )
