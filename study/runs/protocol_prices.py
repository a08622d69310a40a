"""The protocols that set a price and a rank: cost against real data, and the scores of DD-Ranking."""

from __future__ import annotations

from typing import Any

from study.core.errors import UnknownSetError
from study.core.records import Score
from study.evaluation.baselines import whole_set
from study.evaluation.cost import TrainingCost, cheapest_training, stored_bytes, training_cost
from study.evaluation.protocol import build_job, evaluation_seeds
from study.evaluation.ranking import augmentation_robust_score, label_robust_score
from study.models.work import work_of_model
from study.runs.context.full_data import open_full_data
from study.runs.protocol_pictures import draw_bars
from study.runs.protocol_session import DISTILLED, RANDOM, Findings, Session

__all__ = ["measure_cost", "measure_ranking"]

TOLERANCE = 0.005
"""By how much a shorter training may miss the accuracy of the set's own recipe and still count as equal."""


def measure_cost(session: Session) -> Findings:
    """The set's own training, the shortest that equals it, and the shortest on all real data that does."""
    session.require_validation("the length of training is chosen by its scores")
    context, synthetic = session.context, session.synthetic
    config, compute, augmentation = context.config, context.compute, context.splits.augmentation
    seeds = evaluation_seeds(session.generators, session.num_seeds)
    session.callback.on_phase("training by the set's own recipe")
    job = build_job(synthetic, config.model, config.evaluation.resolve(), augmentation, compute)
    own = training_cost(job, session.real(), seeds)
    target = max(0.0, own.accuracy - TOLERANCE)
    plain = config.evaluation.model_copy(update={"use_schedule": False, "use_learned_step_size": False})
    found = {"distilled, own recipe": own}
    shortened = config.evaluation.model_copy(update={"use_schedule": False})
    for name, some, recipe in (
        ("distilled, shortest", synthetic, shortened), ("whole data, shortest", whole_set(context.train), plain)
    ):  # fmt: skip
        session.callback.on_phase(f"looking for the shortest training: {name}")
        found[name] = cheapest_training(
            some, session.real(), target, config.model, recipe, augmentation, compute, session.generators,
            num_seeds=session.num_seeds, max_steps=max(2000, own.num_steps),
        )  # fmt: skip
    # The search has seeds of its own, and may miss by a hair what the recipe reaches in fewer steps.
    if found["distilled, shortest"].flops > own.flops:
        found["distilled, shortest"] = own
    rows = [{"training": name, **cost.plain()} for name, cost in found.items()]
    metrics, notes = _cost_metrics(session, own, found["distilled, shortest"], found["whole data, shortest"])
    metrics["cost/target_accuracy"] = target
    names = ("own recipe", "shortest", "real data")
    figure = draw_bars(
        {
            "FLOPs of one network": dict(zip(names, (cost.flops for cost in found.values()), strict=True)),
            "seconds": dict(zip(names, (cost.seconds for cost in found.values()), strict=True)),
            "updates": dict(zip(names, (float(cost.num_steps) for cost in found.values()), strict=True)),
        },
        title=f"{session.stored.manifest.name}: training to {100 * target:.1f} % on validation",
    )
    return Findings(metrics, rows, figures={"cost.png": figure}, notes=notes)


def _cost_metrics(
    session: Session, own: TrainingCost, short: TrainingCost, real: TrainingCost
) -> tuple[dict[str, float], list[str]]:
    context, synthetic = session.context, session.synthetic
    work = work_of_model(context.config.model, context.splits.image_shape, synthetic.num_classes)
    set_bytes = stored_bytes(synthetic.images, synthetic.labels, synthetic.logits)
    real_bytes = stored_bytes(context.train.images, pixel_bytes=1) + len(context.train)
    metrics = {
        "cost/forward_flops": float(work.forward_flops),
        "cost/set_train_flops": own.flops,
        "cost/set_train_seconds": own.seconds,
        "cost/shortest_train_flops": short.flops,
        "cost/shortest_train_seconds": short.seconds,
        "cost/real_train_flops": real.flops,
        "cost/real_train_seconds": real.seconds,
        "cost/flops_ratio": real.flops / short.flops,
        "cost/seconds_ratio": real.seconds / short.seconds,
        "cost/set_bytes": float(set_bytes),
        "cost/real_bytes": float(real_bytes),
        "cost/storage_ratio": real_bytes / set_bytes,
        "cost/images_ratio": len(context.train) / len(synthetic),
    }
    notes = [
        "FLOPs are of products and convolutions; real data is counted at 8 bits a pixel, the set as it is stored",
        "ratios above 1 are in favour of the set, its shortest training against the shortest on real data",
    ]
    for cost, name in ((short, "the set"), (real, "real data")):
        if not cost.reached:
            notes.append(
                f"{name} missed the accuracy within {cost.num_steps} updates: its ratios are no bound"
            )
    seconds = _distillation_seconds(session)
    if seconds is not None:
        metrics["cost/distill_seconds"] = seconds
        saved = real.seconds - short.seconds
        notes.append(
            f"making the set took {seconds:.1f} s, which {seconds / saved:,.0f} trainings earn back"
            if saved > 0
            else f"making the set took {seconds:.1f} s, and training on real data is no slower: never earned back"
        )
    return metrics, notes


def _distillation_seconds(session: Session) -> float | None:
    """What the run that made the set recorded; None where that run is in another store."""
    try:
        return session.tracker.get_run(session.stored.manifest.origin_run_id).metrics.get(
            "cost/distill_seconds"
        )
    except UnknownSetError:
        return None


def measure_ranking(session: Session) -> Findings:
    """LRS and ARS from scores under the set's own recipe, with hard labels, and with and without augmentation."""
    config = session.context.config.evaluation
    own = config.resolve()
    recipes = {
        "own recipe": config,
        "augmented": config.model_copy(update={"augment": True}),
        "not augmented": config.model_copy(update={"augment": False}),
    }
    found: dict[str, tuple[Score, Score]] = {}
    by_recipe: dict[object, tuple[Score, Score]] = {}
    for name, recipe in recipes.items():
        resolved = recipe.resolve()
        if resolved not in by_recipe:
            session.callback.on_phase(f"training {2 * session.num_seeds} networks, {name}")
            by_recipe[resolved] = (session.score(session.synthetic, recipe), session.random_score(recipe))
        found[name] = by_recipe[resolved]
    hard = found["own recipe"][0]
    if session.synthetic.logits is not None and own.use_soft_labels:
        session.callback.on_phase("training with hard labels")
        hard = session.score(session.synthetic, config.model_copy(update={"use_soft_labels": False}))
    session.callback.on_phase("training on the whole data, unless that is cached")
    full_data = open_full_data(session.context)
    whole = full_data.score(session.options.split, session.real)
    lrs = label_robust_score(
        real_hard=whole.mean, synthetic_hard=hard.mean, synthetic_own=found["own recipe"][0].mean,
        random_own=found["own recipe"][1].mean,
    )  # fmt: skip
    augmented, plain = found["augmented"], found["not augmented"]
    ars = augmentation_robust_score(
        synthetic_augmented=augmented[0].mean, random_augmented=augmented[1].mean,
        synthetic_plain=plain[0].mean, random_plain=plain[1].mean,
    )  # fmt: skip
    rows = [
        _score_row("whole data", f"{full_data.num_epochs} epochs", whole),
        _score_row(DISTILLED, "hard labels", hard),
    ]
    for name, pair in found.items():
        rows += [_score_row(who, name, score) for who, score in zip((DISTILLED, RANDOM), pair, strict=True)]
    metrics = {"ranking/lrs": lrs.score, "ranking/hard_label_recovery": lrs.hard_label_recovery,
               "ranking/improvement_over_random": lrs.improvement_over_random, "ranking/ars": ars.score,
               "ranking/improvement_augmented": ars.improvement_augmented,
               "ranking/improvement_plain": ars.improvement_plain,
               "ranking/full_data_accuracy": whole.mean}  # fmt: skip
    bars = {name: dict(zip((DISTILLED, RANDOM), (pair[0].mean, pair[1].mean), strict=True))
            for name, pair in found.items()}  # fmt: skip
    title = f"{session.stored.manifest.name}: accuracies behind LRS {lrs.score:.3f} and ARS {ars.score:.3f}"
    notes = [
        "0.2689 is the score of a set that neither loses to real data nor beats random images; 1 is the best"
    ]
    if session.synthetic.logits is not None:
        notes.append("random images have hard labels, which favours a set with soft ones")
    return Findings(metrics, rows, figures={"ranking.png": draw_bars(bars, title=title)}, notes=notes)


def _score_row(trained_on: str, recipe: str, score: Score) -> dict[str, Any]:
    return {
        "trained_on": trained_on,
        "recipe": recipe,
        "accuracy": score.mean,
        "std": score.std,
        "n": score.n,
    }
