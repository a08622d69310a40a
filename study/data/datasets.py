"""The table of real datasets, in which they are found by name."""

from __future__ import annotations

from study.core.errors import unknown_name
from study.data import digits
from study.data.source import DatasetSpec

__all__ = ["DATASETS", "find_dataset"]

_WITHOUT_FLIP = "color_crop_cutout_scale_rotate"
_WITH_FLIP = "color_crop_cutout_flip_scale_rotate"

_SPECS = (
    DatasetSpec(
        name="digits",
        description="1,797 handwritten digits, 8 x 8 gray, 10 classes; inside scikit-learn",
        load=digits.load,
        prepare=digits.prepare,
        augmentation=_WITHOUT_FLIP,
        resolution=8,
        channels=1,
        licence="CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
        how_to_get="ships with scikit-learn",
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
