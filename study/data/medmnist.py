"""The two-dimensional sets of MedMNIST, read from the .npz files of their authors with their own splits."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from study.core.errors import DataError, MissingDataError
from study.data.datasets import refuse, register
from study.data.source import WITH_FLIP, WITHOUT_FLIP, DatasetSpec, RawImages, SourceData, resize

URL = "https://zenodo.org/records/10519652"
SIDE = 28
LARGER_SIDES = (64, 128, 224)
"""Pixels a side of the larger files, such as ``pathmnist_64.npz``."""

_PARTS = ("train", "val", "test")
_KEYS = tuple(f"{part}_{what}" for part in _PARTS for what in ("images", "labels"))
_CITE = "cite Yang et al. 2023 (MedMNIST v2) and"


def is_present(name: str, root: Path) -> bool:
    """Whether the file of 28 pixels or a larger one is there."""
    return any(_path(name, root, side).is_file() for side in (SIDE, *LARGER_SIDES))


def load(
    name: str, channels: int, class_names: tuple[str, ...], root: Path, resolution: int | None
) -> SourceData:
    """One set with its official splits; nothing is downloaded, and no pickle is read.

    Args:
        name: of the file, without its ending.
        channels: 1 for [n, side, side] images, 3 for [n, side, side, 3].
        class_names: one name a class, in label order.
        root: the folder that holds ``medmnist``.
        resolution: pixels a side, None for 28. The authors' own file of that size is read where it is there,
            else the images of 28 pixels are resized.

    Raises:
        MissingDataError: there is no file; the message says which, where from and where to.
        DataError: it is damaged, or not this set.
    """
    side = resolution if resolution in LARGER_SIDES and _path(name, root, resolution).is_file() else SIDE
    path = _path(name, root, side)
    if not path.is_file():
        raise MissingDataError(
            f"{name} is not in {root} ({path} does not exist); get {path.name} from {URL} and put it there"
        )
    arrays = _read(path)
    train, validation, test = (_part(path, arrays, part, side, channels, class_names) for part in _PARTS)
    return resize(SourceData(train, test, class_names, validation=validation), resolution)


def prepare(
    name: str, channels: int, class_names: tuple[str, ...], root: Path, resolution: int | None
) -> str:
    """Check that the file is whole: it is read as it is.

    Raises:
        MissingDataError: there is no file.
        DataError: it is damaged, or not this set.
    """
    source = load(name, channels, class_names, root, resolution)
    counts = " / ".join(f"{len(part):,}" for part in source.parts)
    return f"{name}: {counts} train, validation and test images in {root / 'medmnist'}, nothing to prepare"


def _path(name: str, root: Path, side: int) -> Path:
    return root / "medmnist" / (f"{name}.npz" if side == SIDE else f"{name}_{side}.npz")


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, NpzFile):
                raise ValueError("one array instead of an archive of arrays")
            missing = [key for key in _KEYS if key not in file]
            if missing:
                raise DataError(f"{path} has no array {missing[0]!r}; a MedMNIST file has {', '.join(_KEYS)}")
            return {key: file[key] for key in _KEYS}
    except DataError:
        raise
    except (
        EOFError,
        MemoryError,
        OSError,
        RuntimeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is no readable .npz file ({reason}); get it again from {URL}") from error


def _part(
    path: Path,
    arrays: dict[str, NDArray[np.generic]],
    part: str,
    side: int,
    channels: int,
    class_names: tuple[str, ...],
) -> RawImages:
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    size = (side, side) if channels == 1 else (side, side, channels)
    if images.dtype != np.uint8 or images.shape[1:] != size:
        raise DataError(
            f"{path}: {part}_images is {images.dtype} {list(images.shape)}, "
            f"{path.stem} has uint8 [n, {', '.join(map(str, size))}]"
        )
    if labels.dtype.kind not in "iu" or labels.shape not in {(len(images), 1), (len(images),)}:
        raise DataError(
            f"{path}: {part}_labels is {labels.dtype} {list(labels.shape)}, "
            f"expected whole numbers [{len(images)}, 1]"
        )
    found = np.unique(labels).tolist()
    if found != list(range(len(class_names))):
        raise DataError(
            f"{path}: {part}_labels holds the labels {', '.join(map(str, found)) or 'of no image'}; "
            f"{path.stem} has images of each of 0 to {len(class_names) - 1}"
        )
    pixels = torch.from_numpy(images.reshape(len(images), side, side, channels)).permute(0, 3, 1, 2)
    return RawImages(pixels.contiguous(), torch.from_numpy(labels.reshape(-1).astype(np.int64)))


def _register(
    name: str,
    description: str,
    class_names: tuple[str, ...],
    source: str,
    *,
    channels: int,
    augmentation: str = WITH_FLIP,
    licence: str = "CC BY 4.0",
) -> None:
    colour = "gray" if channels == 1 else "colour"
    register(
        DatasetSpec(
            name=name,
            description=f"{description}, {SIDE} x {SIDE} {colour}, {len(class_names)} classes",
            load=partial(load, name, channels, class_names),
            prepare=partial(prepare, name, channels, class_names),
            is_present=partial(is_present, name),
            augmentation=augmentation,
            resolution=SIDE,
            channels=channels,
            licence=f"{licence}; {_CITE} {source}",
            how_to_get=f"put {name}.npz of {URL} into DATA_ROOT/medmnist/",
        )
    )


_register(
    "pathmnist", "107,180 colon tissues",
    (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "Kather et al. 2019", channels=3,
)  # fmt: skip
_register(
    "dermamnist", "10,015 skin lesions",
    (
        "actinic keratoses", "basal cell carcinoma", "benign keratosis", "dermatofibroma", "melanoma",
        "melanocytic nevi", "vascular lesions",
    ),
    "Tschandl et al. 2018", channels=3, licence="CC BY-NC 4.0",
)  # fmt: skip
_register(
    "octmnist", "109,309 retinal OCT scans",
    ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "Kermany et al. 2018", channels=1,
)  # fmt: skip
# Hearts lie on the left: a mirrored chest is one that hardly any patient has.
_register(
    "pneumoniamnist", "5,856 chest X-rays", ("normal", "pneumonia"),
    "Kermany et al. 2018", channels=1, augmentation=WITHOUT_FLIP,
)  # fmt: skip
# Grades of one disease, in order; the order is not used.
_register(
    "retinamnist", "1,600 fundus images", tuple(f"grade {grade}" for grade in range(5)),
    "Liu et al. 2022 (DeepDRiD)", channels=3,
)  # fmt: skip
_register(
    "breastmnist", "780 breast ultrasounds", ("malignant", "normal or benign"),
    "Al-Dhabyani et al. 2020", channels=1,
)  # fmt: skip
_register(
    "bloodmnist", "17,092 blood cells",
    (
        "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte",
        "neutrophil", "platelet",
    ),
    "Acevedo et al. 2020", channels=3,
)  # fmt: skip
_register(
    "tissuemnist", "236,386 kidney cells",
    (
        "collecting duct, connecting tubule", "distal convoluted tubule", "glomerular endothelial cells",
        "interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments",
        "thick ascending limb",
    ),
    "Ljosa et al. 2012", channels=1,
)  # fmt: skip
# Sides are classes here: the mirror image of a left kidney is a right one.
for _plane, _count in (("axial", "58,830"), ("coronal", "23,583"), ("sagittal", "25,211")):
    _register(
        f"organ{_plane[0]}mnist", f"{_count} {_plane} CT organs",
        (
            "bladder", "left femur", "right femur", "heart", "left kidney", "right kidney", "liver",
            "left lung", "right lung", "pancreas", "spleen",
        ),
        "Bilic et al. 2023 (LiTS)", channels=1, augmentation=WITHOUT_FLIP,
    )  # fmt: skip

refuse(
    "chestmnist",
    "each of its X-rays has 14 labels that hold or not, and study distils images of one class each; "
    "pneumoniamnist has chest X-rays of two classes",
)
for _name in ("organ", "nodule", "adrenal", "fracture", "vessel", "synapse"):
    refuse(f"{_name}mnist3d", "it holds volumes, and study distils flat images; see study data list")
