"""A dataset in one file outside the package: grey squares whose brightness is their class."""

import torch

from study.data.datasets import register
from study.data.source import WITH_FLIP, DatasetSpec, RawImages, SourceData, hold_out, resize

NAMES = ("dark", "middle", "bright")


def load(root, resolution):
    labels = torch.arange(len(NAMES)).repeat_interleave(60)
    noise = torch.randint(0, 60, (len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels = (noise + 90 * labels[:, None, None, None]).to(torch.uint8)
    train, test = hold_out(RawImages(pixels, labels), NAMES)
    return resize(SourceData(train, test, NAMES), resolution)


register(
    DatasetSpec(
        name="toy",
        description="180 grey squares, 8 x 8, 3 classes",
        load=load,
        prepare=lambda root, resolution: "toy is drawn when it is loaded: nothing to prepare",
        is_present=lambda root: True,
        augmentation=WITH_FLIP,
        resolution=8,
        channels=1,
        licence="public domain",
        how_to_get="comes with its plug-in",
    )
)
