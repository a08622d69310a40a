"""The protocols that look at copies and memories: what is scored, and the table that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from study.core.records import SyntheticSet
from study.evaluation.continual import class_orders, learn_in_stages
from study.evaluation.leakage import LeakageReport
from study.methods.base import find_method
from study.runs.leakage import leakage_report
from study.runs.protocol_pictures import MAX_PAIRS, draw_curves, draw_pairs
from study.runs.protocol_session import DISTILLED, RANDOM, Findings, Session

__all__ = ["measure_continual", "measure_leakage"]

HERDING = "herding"
MAX_STAGES = 5
HERDING_IMAGES = 32_000
"""Images shown in training the network whose features herding uses: 20 passes over digits, 1 over MNIST."""


def measure_leakage(session: Session) -> Findings:
    """Distances to the nearest training images; the closest pairs side by side."""
    context, synthetic = session.context, session.synthetic
    session.callback.on_phase(f"comparing {len(synthetic)} with {len(context.train)} real images")
    report = leakage_report(context, synthetic)
    ratios = torch.minimum(_ratio(report, "pixels"), _ratio(report, "features"))
    order = torch.argsort(ratios, stable=True)[:MAX_PAIRS].tolist()
    rows = [_pair(report, synthetic, position) for position in order]
    plain = report.plain()
    invert = context.splits.preprocessing.invert
    figure = draw_pairs(
        invert(synthetic.images[order].cpu()),
        invert(context.train.images[report.pixels.nearest[order]].cpu()),
        [f"{row['class']}: {row['pixel_distance']:.2f}, {row['feature_distance']:.2f}" for row in rows],
        [bool(row["near_copy"]) for row in rows],
        f"{session.stored.manifest.name}: synthetic | nearest real; class: distance in pixels (copy up to "
        f"{report.pixels.threshold:.2f}), in features (up to {report.features.threshold:.2f})",
    )
    verdict = (
        f"{plain['num_near_copies']} of {plain['num_images']} images are near copies of training images, "
        f"{plain['num_exact_copies']} of them exact"
    )
    rule = (
        f"near copy: no farther from a training image, in pixels or in features of a random network, than "
        f"{report.quantile:.0%} of training images lie from their nearest neighbour"
    )
    return Findings(
        metrics={f"leakage/{name}": float(value) for name, value in plain.items()},
        rows=rows,
        figures={"leakage_pairs.png": figure},
        notes=[verdict, rule],
    )


def _ratio(report: LeakageReport, space: str) -> torch.Tensor:
    found = report.pixels if space == "pixels" else report.features
    return found.distances / max(found.threshold, 1e-12)


def _pair(report: LeakageReport, synthetic: SyntheticSet, position: int) -> dict[str, Any]:
    return {
        "image": position,
        "class": synthetic.class_names[int(synthetic.labels[position])],
        "near_copy": bool(report.near_copies[position]),
        "nearest_train": int(report.pixels.nearest[position]),
        "pixel_distance": float(report.pixels.distances[position]),
        "feature_distance": float(report.features.distances[position]),
    }


def measure_continual(session: Session) -> Findings:
    """Accuracy after each stage with the set, herded and random real images as memory."""
    context = session.context
    num_classes = session.synthetic.num_classes
    num_stages = min(MAX_STAGES, num_classes - 1)
    orders = class_orders(num_classes, num_stages, session.num_seeds, session.generators)
    session.callback.on_phase("choosing a herding memory")
    memories: dict[str, Sequence[SyntheticSet]] = {
        DISTILLED: [session.synthetic], HERDING: [_herded(session)], RANDOM: session.random_sets(),
    }  # fmt: skip
    scores = {}
    for name, some in memories.items():
        session.callback.on_phase(f"training {len(orders) * num_stages} networks: {name}")
        scores[name] = learn_in_stages(
            some, session.real(), orders, *session.common(), session.generators.child("learn")
        )
    seen = [len(orders[0].seen(stage)) for stage in range(num_stages)]
    rows = [
        {"memory": name, "classes_seen": count, "accuracy": score.mean, "std": score.std, "n": score.n}
        for name, stages in scores.items()
        for count, score in zip(seen, stages, strict=True)
    ]
    metrics, curves = {}, {}
    for name, stages in scores.items():
        metrics[f"continual/{_key(name)}_mean"] = sum(score.mean for score in stages) / num_stages
        metrics[f"continual/{_key(name)}_final"] = stages[-1].mean
        curves[f"continual/{_key(name)}"] = [
            (count, score.mean) for count, score in zip(seen, stages, strict=True)
        ]
    ipc = context.config.ipc
    figure = draw_curves(
        {f"memory of {ipc} image{'s' if ipc > 1 else ''} a class": scores}, seen, xlabel="classes seen so far",
        ylabel="accuracy on them", title=f"{session.stored.manifest.name}: class-incremental learning",
    )  # fmt: skip
    notes = [
        "after each stage a fresh network learns from the memory of the classes seen so far alone (GDumb)",
        "the set was made, and herding's network trained, with all classes at hand",
    ]
    return Findings(metrics, rows, curves, {"continual.png": figure}, notes)


def _herded(session: Session) -> SyntheticSet:
    """As many real images a class as the set has, chosen by herding."""
    context = session.context
    method = find_method("herding")
    num_epochs = max(1, round(HERDING_IMAGES / len(context.train)))
    task = context.task(context.config)
    chosen = method(method.Config.model_validate({"num_epochs": num_epochs}))
    return next(iter(chosen.distill(task, session.generators.child("herding")))).snapshot()


def _key(name: str) -> str:
    """A metric's part for a table's name."""
    return {DISTILLED: "distilled", RANDOM: "random", HERDING: "herding"}[name]
