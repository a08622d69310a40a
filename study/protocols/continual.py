"""Continual learning: does a set serve as memory when classes arrive in stages, and none may be forgotten?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from study.core.errors import ConfigError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.evaluation.evaluator import Evaluator, join_scores
from study.methods.base import Task, find_method
from study.protocols.base import DISTILLED, RANDOM, Findings, Protocol, Session, register, score_row
from study.protocols.figures import draw_curves

HERDING = "herding"
MAX_STAGES = 5
HERDING_IMAGES = 32_000
"""Images shown in training the network whose features herding uses: 20 passes over digits, 1 over MNIST."""
KEYS = {DISTILLED: "distilled", RANDOM: "random", HERDING: "herding"}
"""A metric's part for a memory's name."""


@register
class Continual(Protocol):
    """Accuracy after each stage with the set, herded and random real images as memory."""

    name: ClassVar[str] = "continual"
    about: ClassVar[str] = "class-incremental learning with the set as memory"

    def measure(self, session: Session) -> Findings:
        """One row a memory and stage."""
        generators = session.on_validation.generators
        num_classes = session.synthetic.num_classes
        num_stages = min(MAX_STAGES, num_classes - 1)
        orders = class_orders(num_classes, num_stages, session.num_seeds, generators)
        session.report("choosing a herding memory")
        memories: dict[str, Sequence[SyntheticSet]] = {
            DISTILLED: [session.synthetic],
            HERDING: [_herded(session)],
            RANDOM: session.on_validation.random_sets(session.ipc, session.num_seeds),
        }
        learner = session.evaluator.changed(generators=generators.child("learn"))
        scores = {}
        for name, some in memories.items():
            session.report(f"training {len(orders) * num_stages} networks: {name}")
            scores[name] = learn_in_stages(some, orders, learner)
        seen = [len(orders[0].seen(stage)) for stage in range(num_stages)]
        rows, metrics, curves = [], {}, {}
        for name, stages in scores.items():
            key, by_count = f"continual/{KEYS[name]}", list(zip(seen, stages, strict=True))
            rows += [{"memory": name, "classes_seen": count, **score_row(score)} for count, score in by_count]
            metrics[f"{key}_mean"] = sum(score.mean for score in stages) / num_stages
            metrics[f"{key}_final"] = stages[-1].mean
            curves[key] = [(count, score.mean) for count, score in by_count]
        ipc = session.ipc
        figure = draw_curves(
            {f"memory of {ipc} image{'s' if ipc > 1 else ''} a class": scores},
            seen,
            xlabel="classes seen so far",
            ylabel="accuracy on them",
            title=f"{session.name}: class-incremental learning",
        )
        notes = [
            "after each stage a fresh network learns from the memory of the classes seen so far alone (GDumb)",
            "the set was made, and herding's network trained, with all classes at hand",
        ]
        return Findings(metrics, rows, curves=curves, figures={"continual.png": figure}, notes=notes)


def _herded(session: Session) -> SyntheticSet:
    """As many real images a class as the set has, chosen by herding."""
    evaluator = session.on_validation
    method = find_method("herding")
    num_epochs = max(1, round(HERDING_IMAGES / len(evaluator.train)))
    task = Task(evaluator.train, session.ipc, evaluator.model, evaluator.augmentation, evaluator.compute)
    chosen = method(method.Config.model_validate({"num_epochs": num_epochs}))
    return next(iter(chosen.distill(task, evaluator.generators.child("herding")))).snapshot()


@dataclass(frozen=True)
class ClassOrder:
    """In which order classes arrive: ``stages`` has those that each stage adds."""

    stages: tuple[tuple[int, ...], ...]

    def seen(self, stage: int) -> list[int]:
        """Classes that have arrived when a stage ends, ascending."""
        return sorted(label for some in self.stages[: stage + 1] for label in some)


def class_orders(
    num_classes: int, num_stages: int, num_orders: int, generators: Generators
) -> list[ClassOrder]:
    """Random orders of the classes, in stages as equal as they can be; the larger ones come first.

    Order i depends on ``generators`` and i alone.

    Raises:
        ConfigError: a stage would be empty or the first one have a single class, or there is no order.
    """
    if not 1 <= num_stages <= num_classes - 1:
        raise ConfigError(
            f"num_stages = {num_stages}: must be between 1 and {num_classes - 1}, so that the first of the stages "
            f"of {num_classes} classes has two"
        )
    if num_orders < 1:
        raise ConfigError(f"num_orders = {num_orders}: must be at least 1")
    size, larger = divmod(num_classes, num_stages)
    lengths = [size + (index < larger) for index in range(num_stages)]
    orders = []
    for index in range(num_orders):
        source = generators.child("order", index)["classes"]
        drawn = torch.randperm(num_classes, generator=source, device=source.device).cpu()
        orders.append(ClassOrder(tuple(tuple(part.tolist()) for part in torch.split(drawn, lengths))))
    return orders


def learn_in_stages(
    memories: Sequence[SyntheticSet], orders: Sequence[ClassOrder], evaluator: Evaluator
) -> list[Score]:
    """Accuracy on all classes seen so far, after each stage.

    After every stage a fresh network is trained on the memory of the classes that have arrived alone, and
    classifies real images of those classes (GDumb). So accuracy depends on what the memory keeps and not on a
    rule against forgetting. Order i always trains from seed i, so that memories are compared network by network.

    Args:
        memories: images of all classes; one set for all orders, or one for each.
        orders: one network for each and each stage.
        evaluator: its child ``stage`` of order and stage gives the evaluation seed.

    Returns:
        One score a stage, whose values are those of the orders.

    Raises:
        ConfigError: there is neither one memory nor one an order, or the orders differ in their stages.

    Source: Prabhu et al. 2020 (GDumb), as Zhao and Bilen 2023 use it for condensed sets.
    """
    if not orders or len(memories) not in (1, len(orders)):
        raise ConfigError(
            f"{len(memories)} memories for {len(orders)} class orders: need one, or one an order"
        )
    num_stages = len(orders[0].stages)
    if any(len(order.stages) != num_stages for order in orders):
        raise ConfigError("all class orders must have the same number of stages")
    scores: list[list[Score]] = [[] for _ in range(num_stages)]
    for index, order in enumerate(orders):
        memory = memories[index % len(memories)]
        for stage in range(num_stages):
            seen = order.seen(stage)
            there = evaluator.changed(
                real=_real_of(evaluator.real, seen),
                generators=evaluator.generators.child("stage", index, stage),
                expected_scores=len(orders) * num_stages,
            )
            scores[stage].append(there.score(only_classes(memory, seen), 1))
    return [join_scores(some) for some in scores]


def only_classes(synthetic: SyntheticSet, classes: Sequence[int]) -> SyntheticSet:
    """The images of some classes, labelled anew from 0 in the order of ``classes``.

    Soft labels keep the columns of these classes alone. Steps that were learned with the whole set have no
    meaning for a part, and are left behind.
    """
    kept, labels = _relabel(synthetic.labels, classes)
    columns = torch.tensor(list(classes), device=synthetic.images.device)
    return SyntheticSet(
        synthetic.images[kept],
        labels,
        tuple(synthetic.class_names[label] for label in classes),
        None if synthetic.logits is None else synthetic.logits[kept][:, columns],
        synthetic.step_size,
    )


def _real_of(real: ImageDataset, classes: Sequence[int]) -> ImageDataset:
    kept, labels = _relabel(real.labels, classes)
    return ImageDataset(real.images[kept], labels, tuple(real.class_names[label] for label in classes))


def _relabel(labels: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions of the images of some classes, and their labels among these."""
    table = torch.full((max(int(labels.max()), *classes) + 1,), -1, device=labels.device)
    table[list(classes)] = torch.arange(len(classes), device=labels.device)
    kept = torch.nonzero(table[labels] >= 0).flatten()
    return kept, table[labels[kept]]
