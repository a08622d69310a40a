"""Handwritten digits of 8 by 8 pixels that ship inside scikit-learn: the default dataset."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits

from study.data.datasets import register
from study.data.source import WITHOUT_FLIP, DatasetSpec, RawImages, SourceData, hold_out, resize


def load(root: Path, resolution: int | None) -> SourceData:
    """All 1,797 digits, 8 pixels a side by default; a fixed stratified fifth is the test set."""
    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).to(torch.uint8)[:, None]
    class_names = tuple(str(name) for name in bunch.target_names)
    train, test = hold_out(RawImages(pixels, torch.from_numpy(bunch.target).long()), class_names)
    return resize(SourceData(train, test, class_names, max_value=16), resolution)


register(
    DatasetSpec(
        name="digits",
        description="1,797 handwritten digits, 8 x 8 gray, 10 classes",
        load=load,
        prepare=lambda root, resolution: "digits ships inside scikit-learn: nothing to prepare",
        is_present=lambda root: True,
        augmentation=WITHOUT_FLIP,
        resolution=8,
        channels=1,
        licence="CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
        how_to_get="comes with scikit-learn",
    )
)
