"""A set that scores far from what its own manifest says, and what is likely to be the cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from study.core.words import percent
from study.data.splits import DataSplits
from study.runs.config.configure import RunConfig
from study.sets.files import StoredSet

FAR_POINTS = 0.05
"""Difference in accuracy below which nothing is said, however small the deviations."""
FAR_DEVIATIONS = 3.0
"""The same in deviations of both scores together."""
MEANS_APART = 2.0
"""Means of synthetic and real images, in deviations of the real ones, that no shared normalisation leaves."""
SPREADS_APART = 4.0
"""Ratio of their deviations, likewise."""


def surprise(
    stored: StoredSet, config: RunConfig, splits: DataSplits, split: str, row: Mapping[str, Any]
) -> str | None:
    """What to tell of a score far from the one in the manifest, with the likely cause; None where it is as expected.

    Args:
        stored: the set.
        config: under which it was evaluated.
        splits: the real images, test sealed.
        split: that was classified.
        row: scores of the set's own architecture, with ``distilled`` and ``distilled_std``.
    """
    known = stored.manifest.scores.get(split)
    if known is None:
        return None
    got, spread = float(row["distilled"]), float(row["distilled_std"])
    far = max(FAR_POINTS, FAR_DEVIATIONS * math.hypot(known.std, spread))
    if abs(got - known.mean) <= far:
        return None
    said = f"expected {percent(known.mean, known.std, known.n)} as its manifest says, got {percent(got, spread)}; "
    causes = [*_normalisation(stored, splits), *_labels(stored, splits), *_recipe(stored, config)]
    if causes:
        return f"{said}likely cause: {'; '.join(causes)}"
    return f"{said}normalisation, ZCA, labels and recipe look right, so the images or the score are another set's"


def _normalisation(stored: StoredSet, splits: DataSplits) -> list[str]:
    """What speaks for images in another space than the real ones are brought into."""
    own, here = stored.preprocessing, splits.preprocessing
    if own.kind != here.kind:
        what = "ZCA" if "zca" in (own.kind, here.kind) else "normalisation"
        return [f"{what} (preprocessing {own.kind!r} in the set, {here.kind!r} of the real images here)"]
    if own.kind == "standard" and not _same(
        torch.tensor([own.mean, own.std]), torch.tensor([here.mean, here.std])
    ):
        return [
            f"normalisation (mean {own.mean} and std {own.std} in the set, {here.mean} and {here.std} here)"
        ]
    if (
        own.zca_matrix is not None
        and here.zca_matrix is not None
        and not _same(own.zca_matrix, here.zca_matrix)
    ):
        return ["ZCA (the whitening matrix of the set is not that of the real images here)"]
    low, high = float(stored.images.min()), float(stored.images.max())
    means, spreads = zip(
        *((float(x.mean()), float(x.std())) for x in (stored.images, splits.train.images)), strict=True
    )
    ratio = spreads[0] / spreads[1] if spreads[1] > 0 else 1.0
    shifted = abs(means[0] - means[1]) > MEANS_APART * spreads[1]
    plain = own.kind != "none" and low >= 0 and (high <= 1 or (shifted and high <= 255))
    name = "ZCA" if own.kind == "zca" else "normalisation"
    if plain:
        return [f"{name} (images lie in {low:.3g} to {high:.3g}, as pixels do that were never normalised)"]
    if shifted or not 1 / SPREADS_APART <= ratio <= SPREADS_APART:
        return [
            f"{name} (images have mean {means[0]:.3g} and deviation {spreads[0]:.3g}, "
            f"real ones {means[1]:.3g} and {spreads[1]:.3g})"
        ]
    return []


def _labels(stored: StoredSet, splits: DataSplits) -> list[str]:
    """What speaks for labels that are not those of the real images."""
    if stored.class_names != splits.class_names:
        return ["labels (the set names its classes otherwise, or in another order)"]
    counts = torch.bincount(stored.labels, minlength=len(stored.class_names))
    if int(counts.min()) != int(counts.max()):
        return [f"labels ({int(counts.min())} to {int(counts.max())} images a class)"]
    if stored.images.shape[1:] != splits.train.images.shape[1:]:
        return []
    train = splits.train
    means = torch.stack([train.images[train.labels == label].mean(0) for label in range(train.num_classes)])
    here, real = (_nearest(images, labels, means) for images, labels in (
        (stored.images, stored.labels), (train.images, train.labels)))  # fmt: skip
    if here < real / 2:
        return [
            f"labels ({percent(here)} of the images lie nearest to the real ones of their class, {percent(real)} of "
            "real ones do)"
        ]
    if stored.logits is not None:
        agree = float((stored.logits.argmax(1) == stored.labels).float().mean())
        if agree < 0.5:
            return [f"labels (soft labels agree with the classes of {percent(agree)} of the images)"]
    return []


def _nearest(images: Tensor, labels: Tensor, means: Tensor) -> float:
    """Share of the images that lie nearest to the mean of their own class."""
    found = torch.cdist(images.flatten(1).cpu(), means.flatten(1).cpu()).argmin(1)
    return float((found == labels.cpu()).float().mean())


def _recipe(stored: StoredSet, config: RunConfig) -> list[str]:
    """Settings of training that differ from those the set was scored with."""
    known = stored.manifest.evaluation
    now = {
        **config.evaluation.resolve().model_dump(mode="json"),
        "model": config.model.model_dump(mode="json"),
    }
    differ = [key for key in now if key in known and known[key] != now[key]]
    words = {"lr": "learning rate"}
    return [
        f"{words.get(key, key.replace('_', ' '))} ({now[key]!r} here, {known[key]!r} in its manifest)"
        for key in differ
    ]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)
