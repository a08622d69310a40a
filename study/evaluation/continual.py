"""Class-incremental learning with a small memory: classes arrive in stages, and none may be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.protocol import EvaluationConfig, evaluate
from study.models.pool import ModelConfig

__all__ = ["ClassOrder", "class_orders", "learn_in_stages", "only_classes"]


@dataclass(frozen=True)
class ClassOrder:
    """In which order classes arrive.

    Attributes:
        stages: the classes that each stage adds.
    """

    stages: tuple[tuple[int, ...], ...]

    def seen(self, stage: int) -> list[int]:
        """Classes that have arrived when a stage ends, ascending."""
        return sorted(label for some in self.stages[: stage + 1] for label in some)


def class_orders(
    num_classes: int, num_stages: int, num_orders: int, generators: Generators
) -> list[ClassOrder]:
    """Random orders of the classes, in stages as equal as they can be; the larger ones come first.

    Args:
        num_classes: at least 2.
        num_stages: such that the first stage has two classes or more: a classifier needs them.
        num_orders: independent permutations; order i depends on ``generators`` and i alone.
        generators: child ``order`` draws them.

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
    memories: Sequence[SyntheticSet],
    real: ImageDataset,
    orders: Sequence[ClassOrder],
    model: ModelConfig,
    config: EvaluationConfig,
    augmentation: AugmentationConfig,
    compute: Compute,
    generators: Generators,
    *,
    on_stage: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """Accuracy on all classes seen so far, after each stage.

    After every stage a fresh network is trained on the memory of the classes that have arrived, and on
    nothing else, and classifies real images of those classes (GDumb). So accuracy depends on what the
    memory keeps and not on a rule against forgetting. Order i always trains from seed i, so that memories
    are compared network by network.

    Args:
        memories: images of all classes; one set for all orders, or one for each.
        real: images to classify.
        orders: one network for each and each stage.
        model: the architecture.
        config: the training recipe.
        augmentation: the dataset's.
        compute: device and precision.
        generators: child ``stage`` of order and stage gives the evaluation seed.
        on_stage: told of order and stage when it is scored.

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
            scores[stage].append(
                evaluate(
                    only_classes(memory, seen),
                    _real_of(real, seen),
                    model,
                    config,
                    augmentation,
                    compute,
                    generators.child("stage", index, stage),
                    num_seeds=1,
                    expected_evaluations=len(orders) * num_stages,
                )
            )
            if on_stage is not None:
                on_stage(index, stage)
    return [
        Score(some[0].metric, tuple(one.values[0] for one in some), seconds=sum(one.seconds for one in some))
        for some in scores
    ]


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
