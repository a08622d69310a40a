"""What can be asked about the real datasets: which there are, getting one ready, checking a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.data.datasets import DATASETS, find_dataset
from study.data.preprocess import fit_standard
from study.data.splits import DataConfig, resolve_data_root, split_source

SHOWN = ("name", "description", "resolution", "channels", "augmentation", "licence", "how_to_get")
"""What of a dataset is listed."""


def list_datasets(data_root: Path | None = None) -> list[dict[str, Any]]:
    """Every dataset with its properties, and whether its files are in the data root."""
    root = resolve_data_root(data_root)
    return [
        {**{name: getattr(spec, name) for name in SHOWN}, "present": spec.is_present(root)}
        for spec in DATASETS.values()
    ]


def prepare_dataset(
    name: str, data_root: Path | None = None, resolution: int | None = None
) -> dict[str, Any]:
    """Download (MNIST, Fashion-MNIST, CIFAR-10) or decode (MHIST, folder) what a run will need, or check it (MedMNIST).

    Raises:
        UnknownNameError: no dataset has that name.
        MissingDataError: it cannot be downloaded, or must be put there by hand.
        DataError: a file is broken.
    """
    root = resolve_data_root(data_root)
    return {"dataset": name, "data_root": str(root), "done": find_dataset(name).prepare(root, resolution)}


def check_dataset(name: str, data_root: Path | None = None, resolution: int | None = None) -> dict[str, Any]:
    """Load a dataset fully, divide it as a run with default settings would, and describe it.

    Mean and deviation are of training pixels in [0, 1]. Test labels are counted, nothing is scored.

    Raises:
        UnknownNameError: no dataset has that name.
        MissingDataError: its files are not there.
        DataError: a file is broken, or a class is too small to be split.
    """
    root = resolve_data_root(data_root)
    spec = find_dataset(name)
    source = spec.load(root, resolution)
    splits = split_source(spec, source, DataConfig(resolution=resolution))
    measured = fit_standard(splits.preprocessing.invert(splits.train.images))
    counts = {**splits.class_counts(), "test": source.test.class_counts(splits.num_classes)}
    return {
        "dataset": name,
        "data_root": str(root),
        "image_shape": list(splits.image_shape),
        "class_names": list(splits.class_names),
        "counts": {
            split: dict(zip(splits.class_names, numbers, strict=True)) for split, numbers in counts.items()
        },
        "totals": {split: sum(numbers) for split, numbers in counts.items()},
        "balanced": not splits.train.is_unbalanced,
        "fingerprint": splits.fingerprint,
        "mean": list(measured.mean),
        "std": list(measured.std),
        "normalised_with": {"mean": list(splits.preprocessing.mean), "std": list(splits.preprocessing.std)},
        "augmentation": splits.augmentation.strategy,
        "licence": spec.licence,
        "cached_files": [str(path) for path in source.files],
    }
