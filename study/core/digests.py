"""Digests of images in memory: the same digest means the same training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch import Tensor

from study.core.records import ImageDataset, SyntheticSet


def dataset_digest(dataset: ImageDataset) -> str:
    """SHA-256 (hex) over shape, pixels and labels in their order; class names are left out."""
    return _digest((tuple(dataset.images.shape), dataset.num_classes), [dataset.images, dataset.labels])


def set_digest(synthetic: SyntheticSet) -> str:
    """SHA-256 (hex) over all that training on a set depends on: pixels, targets, step size and steps."""
    schedule = synthetic.schedule
    facts = (
        tuple(synthetic.images.shape), synthetic.num_classes, synthetic.step_size,
        None if schedule is None else (schedule.network_seed, tuple(schedule.order.shape)),
    )  # fmt: skip
    steps = () if schedule is None else (schedule.order, schedule.step_sizes)
    return _digest(facts, [synthetic.images, synthetic.targets(), *steps])


def _digest(facts: tuple[object, ...], tensors: Iterable[Tensor]) -> str:
    content = hashlib.sha256(repr(facts).encode())
    for tensor in tensors:
        content.update(tensor.detach().cpu().contiguous().numpy().data)
    return content.hexdigest()
