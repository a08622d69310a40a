"""MNIST, Fashion-MNIST and CIFAR-10 in torchvision's layout; local files are used as they are."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from study.core.errors import DataError, MissingDataError
from study.data.datasets import register
from study.data.source import WITH_FLIP, WITHOUT_FLIP, DatasetSpec, RawImages, SourceData, resize

Name = Literal["mnist", "fashion-mnist", "cifar10"]

_CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
_IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


def is_present(name: Name, root: Path) -> bool:
    """Whether all files are there; not whether they are whole."""
    return _first_missing(name, root) is None


def load(name: Name, root: Path, resolution: int | None) -> SourceData:
    """A dataset from files in ``MNIST/raw``, ``FashionMNIST/raw`` or ``cifar-10-batches-py``; never downloaded here.

    Raises:
        MissingDataError: a file is not there.
        DataError: a file is cut off or altered.
    """
    missing = _first_missing(name, root)
    if missing is not None:
        raise MissingDataError(
            f"{name} is not in {root} ({missing} does not exist); "
            f"run `study data prepare {name} --data-root {root}`"
        )
    return resize(_load_cifar(root) if name == "cifar10" else _load_idx(name, root), resolution)


def prepare(name: Name, root: Path, resolution: int | None) -> str:
    """Download what is missing through torchvision.

    Raises:
        MissingDataError: the download failed.
    """
    if is_present(name, root):
        return f"{name}: already in {root}, nothing to download"
    dataset = _dataset(name)
    try:
        # torchvision reports progress; standard output belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            dataset(root, train=True, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MissingDataError(
            f"{name} could not be downloaded into {root}: {reason}; copy its files to {_folder(name, root)} yourself"
        ) from error
    return f"{name}: downloaded into {root}"


def _dataset(name: Name) -> Any:
    # Importing torchvision takes longer than loading digits; only those who need it pay.
    from torchvision import datasets

    return getattr(datasets, _CLASSES[name])


def _folder(name: Name, root: Path) -> Path:
    return root / "cifar-10-batches-py" if name == "cifar10" else root / _CLASSES[name] / "raw"


def _first_missing(name: Name, root: Path) -> Path | None:
    if name == "cifar10":
        files: tuple[str, ...] = (*_BATCHES, "test_batch", "batches.meta")
    else:
        files = (*_IDX_FILES["train"], *_IDX_FILES["test"])
    paths = (_folder(name, root) / file for file in files)
    return next((path for path in paths if not path.is_file()), None)


def _load_idx(name: Name, root: Path) -> SourceData:
    from torchvision.datasets import mnist

    folder = _folder(name, root)
    parts = {}
    for part, (image_file, label_file) in _IDX_FILES.items():
        pixels = _read(mnist.read_image_file, folder / image_file)
        labels = _read(mnist.read_label_file, folder / label_file).long()
        if len(pixels) != len(labels):
            raise DataError(
                f"{folder / image_file} holds {len(pixels)} images, {label_file} {len(labels)} labels"
            )
        if len(labels) == 0 or int(labels.max()) > 9:
            raise DataError(f"{folder / label_file} is empty or holds a label above 9")
        parts[part] = RawImages(pixels[:, None].contiguous(), labels)
    digits = tuple(str(digit) for digit in range(10))
    names = digits if name == "mnist" else tuple(_dataset(name).classes)
    return SourceData(parts["train"], parts["test"], names)


def _read(reader: Callable[[str], Tensor], path: Path) -> Tensor:
    try:
        return reader(str(path))
    except (AssertionError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error) or "its length does not match its header"
        raise DataError(
            f"{path} is damaged or cut off ({reason}); delete it and prepare the dataset again"
        ) from error


def _load_cifar(root: Path) -> SourceData:
    from torchvision.datasets.utils import check_integrity

    dataset, folder = _dataset("cifar10"), _folder("cifar10", root)
    # The batches are pickles: none is read before its checksum matches the published one.
    published = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    for file, checksum in published:
        if not check_integrity(str(folder / file), checksum):
            raise DataError(
                f"{folder / file} is damaged: its checksum is not the published one; delete it and prepare again"
            )
    parts = []
    names: tuple[str, ...] = ()
    for is_train in (True, False):
        loaded = dataset(root, train=is_train, download=False)
        pixels = torch.from_numpy(loaded.data).permute(0, 3, 1, 2).contiguous()
        parts.append(RawImages(pixels, torch.tensor(loaded.targets)))
        names = tuple(loaded.classes)
    return SourceData(parts[0], parts[1], names)


def _register(name: Name, description: str, licence: str, augmentation: str, **known: Any) -> None:
    register(
        DatasetSpec(
            name=name,
            description=description,
            load=partial(load, name),
            prepare=partial(prepare, name),
            is_present=partial(is_present, name),
            augmentation=augmentation,
            licence=licence,
            how_to_get=f"study data prepare {name}",
            **known,
        )
    )


_register(
    "mnist", "70,000 handwritten digits, 28 x 28 gray, 10 classes", "CC BY-SA 3.0", WITHOUT_FLIP,
    resolution=28, channels=1, mean=(0.1307,), std=(0.3081,),
)  # fmt: skip
_register(
    "fashion-mnist", "70,000 pictures of clothes, 28 x 28 gray, 10 classes", "MIT", WITH_FLIP,
    resolution=28, channels=1, mean=(0.2861,), std=(0.3530,),
)  # fmt: skip
_register(
    "cifar10", "60,000 small photographs, 32 x 32 colour, 10 classes",
    "none stated by its authors (Krizhevsky 2009)", WITH_FLIP,
    resolution=32, channels=3, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010),
)  # fmt: skip
