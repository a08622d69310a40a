"""The table of real datasets, in which they are found by name."""

from __future__ import annotations

from functools import partial

from study.core.errors import unknown_name
from study.data import digits, folder, mhist, torchvision_sets
from study.data.source import DatasetSpec

__all__ = ["DATASETS", "find_dataset"]

# Mirrored digits are other shapes or none, so their default has no flip.
_WITHOUT_FLIP = "color_crop_cutout_scale_rotate"
_WITH_FLIP = "color_crop_cutout_flip_scale_rotate"


def _torchvision_spec(
    name: torchvision_sets.Name,
    description: str,
    licence: str,
    moments: tuple[tuple[float, ...], tuple[float, ...]],
    augmentation: str,
) -> DatasetSpec:
    mean, std = moments
    return DatasetSpec(
        name=name,
        description=description,
        load=partial(torchvision_sets.load, name),
        prepare=partial(torchvision_sets.prepare, name),
        is_present=partial(torchvision_sets.is_present, name),
        augmentation=augmentation,
        resolution=32 if name == "cifar10" else 28,
        channels=len(mean),
        licence=licence,
        how_to_get=f"study data prepare {name}",
        mean=mean,
        std=std,
    )


_SPECS = (
    DatasetSpec(
        name="digits",
        description="1,797 handwritten digits, 8 x 8 gray, 10 classes",
        load=digits.load,
        prepare=digits.prepare,
        is_present=digits.is_present,
        augmentation=_WITHOUT_FLIP,
        resolution=8,
        channels=1,
        licence="CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
        how_to_get="comes with scikit-learn",
    ),
    _torchvision_spec(
        "mnist",
        "70,000 handwritten digits, 28 x 28 gray, 10 classes",
        "CC BY-SA 3.0",
        ((0.1307,), (0.3081,)),
        _WITHOUT_FLIP,
    ),
    _torchvision_spec(
        "fashion-mnist",
        "70,000 pictures of clothing, 28 x 28 gray, 10 classes",
        "MIT",
        ((0.2861,), (0.3530,)),
        _WITH_FLIP,
    ),
    _torchvision_spec(
        "cifar10",
        "60,000 small photographs, 32 x 32 colour, 10 classes",
        "none stated by its authors (Krizhevsky 2009)",
        ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        _WITH_FLIP,
    ),
    DatasetSpec(
        name="mhist",
        description="3,152 colorectal polyps, 224 x 224 colour, 2 classes (HP, SSA), unbalanced",
        load=mhist.load,
        prepare=mhist.prepare,
        is_present=mhist.is_present,
        augmentation=_WITH_FLIP,
        resolution=224,
        channels=3,
        licence="research use, by agreement with its owners",
        how_to_get="request it at https://bmirds.github.io/MHIST/, then study data prepare mhist",
    ),
    DatasetSpec(
        name="folder",
        description="your own images, with or without a test set",
        load=folder.load,
        prepare=folder.prepare,
        is_present=folder.is_present,
        augmentation=_WITH_FLIP,
        resolution=None,
        channels=None,
        licence="yours",
        how_to_get="put images into DATA_ROOT/train/CLASS/",
    ),
)

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}
"""Every real dataset by name."""


def find_dataset(name: str) -> DatasetSpec:
    """The dataset of that name.

    Raises:
        UnknownNameError: there is none; the message lists them all.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name]
