"""The user's own images: ``train/<class>/*`` and, where there is one, ``test/<class>/*``."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from study.core.errors import DataError, MissingDataError
from study.data.cache import cached
from study.data.datasets import register
from study.data.decode import IMAGE_SUFFIXES, decode_images, describe_files
from study.data.extent import without_test
from study.data.source import WITH_FLIP, DatasetSpec, RawImages, SourceData, decoding, hold_out

_LOG = logging.getLogger(__name__)


def is_present(root: Path) -> bool:
    """Whether there is a folder ``train``."""
    return (root / "train").is_dir()


def load(root: Path, resolution: int | None) -> SourceData:
    """All images below ``root``, decoded on first use and cached for each resolution (None: that of the files).

    Classes are the folders in alphabetical order. Images are gray only if all of them are. Without ``test`` a
    fixed stratified fifth of the images is held out as the test set.

    Raises:
        MissingDataError: there is no ``train``.
        DataError: a class folder is empty, train and test differ in classes, or an image is broken.
    """
    parts = _list_parts(root)
    class_names = tuple(parts["train"])
    files = [path for classes in parts.values() for paths in classes.values() for path in paths]
    key = {
        "dataset": "folder",
        "classes": {part: {n: len(p) for n, p in classes.items()} for part, classes in parts.items()},
        "files": describe_files(files),
        "resolution": resolution,
    }
    tensors, path = cached("folder", key, lambda: {"pixels": decode_images(files, resolution)})
    labels = {part: [i for i, p in enumerate(c.values()) for _ in p] for part, c in parts.items()}
    sizes = [len(part) for part in labels.values()]
    images = [
        RawImages(pixels, torch.tensor(part))
        for pixels, part in zip(torch.split(tensors["pixels"], sizes), labels.values(), strict=True)
    ]
    train, test = images if len(images) == 2 else hold_out(images[0], class_names)
    return SourceData(train, test, class_names, files=(path,))


def look(root: Path) -> tuple[list[Path], list[int]]:
    """Image files below ``root``, and the images of each class that are not for test.

    Raises:
        MissingDataError, DataError: as :func:`load`.
    """
    parts = _list_parts(root)
    counts = [len(paths) for paths in parts["train"].values()]
    files = [path for classes in parts.values() for paths in classes.values() for path in paths]
    return files, counts if "test" in parts else without_test(counts)


def _list_parts(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Image files of each class of ``train`` and, where there is one, ``test``."""
    if not is_present(root):
        raise MissingDataError(
            f"{root} has no folder train; put your images into {root / 'train'}/<class>/, "
            "and test images, if any, into test/<class>/"
        )
    parts = {"train": _list_classes(root / "train")}
    if (root / "test").is_dir():
        parts["test"] = _list_classes(root / "test")
        for name in sorted(set(parts["train"]) ^ set(parts["test"])):
            here, there = ("train", "test") if name in parts["train"] else ("test", "train")
            raise DataError(
                f"{root}: class {name!r} is in {here} but not in {there}; both need the same classes"
            )
    if len(parts["train"]) < 2:
        raise DataError(f"{root / 'train'} has {len(parts['train'])} class folder(s); at least 2 are needed")
    return parts


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files of each class, classes and files in alphabetical order."""
    classes = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = []
        for path in sorted(place.iterdir()):
            if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
                files.append(path)
            elif not path.name.startswith("."):
                _LOG.warning("%s is ignored: its name does not end like an image's", path)
        if not files:
            raise DataError(f"class folder {place} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        classes[place.name] = files
    return classes


register(
    DatasetSpec(
        name="folder",
        description="your own images, with or without a test set",
        load=load,
        prepare=decoding("folder", load),
        is_present=is_present,
        augmentation=WITH_FLIP,
        resolution=None,
        channels=None,
        licence="yours",
        how_to_get="put images into DATA_ROOT/train/CLASS/",
        look=look,
        users_own=True,
    )
)
