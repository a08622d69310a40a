"""MHIST: colorectal polyps, hyperplastic (HP) or sessile serrated (SSA), as its owners hand it out."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from study.core.errors import DataError, MissingDataError
from study.core.files import sha256_file
from study.data.cache import cached
from study.data.datasets import register
from study.data.decode import decode_images, describe_files
from study.data.source import WITH_FLIP, DatasetSpec, RawImages, SourceData, decoding

CLASS_NAMES = ("HP", "SSA")
NUM_ANNOTATORS = 7

_PARTITIONS = ("train", "test")
_NAME = "Image Name"
_LABEL = "Majority Vote Label"
_VOTES = "Number of Annotators who Selected SSA (Out of 7)"
_PARTITION = "Partition"
_COLUMNS = (_NAME, _LABEL, _VOTES, _PARTITION)


@dataclass(frozen=True)
class _Row:
    path: Path
    label: int
    votes: int
    partition: str


def find_folder(root: Path) -> Path:
    """The folder with ``annotations.csv`` and ``images``: the root, or ``mhist`` or ``MHIST`` in it.

    Raises:
        MissingDataError: there is none; the message says how to get the images.
    """
    for folder in (root, root / "mhist", root / "MHIST"):
        if (folder / "annotations.csv").is_file():
            if not (folder / "images").is_dir():
                raise MissingDataError(f"{folder} has no folder images; unpack the owners' images.zip there")
            return folder
    raise MissingDataError(
        f"mhist is not in {root}: request it from its owners at https://bmirds.github.io/MHIST/, then put "
        f"images/ and annotations.csv into {root / 'mhist'}, or name their folder with --data-root"
    )


def is_present(root: Path) -> bool:
    """Whether a copy is there; not whether it is whole."""
    try:
        find_folder(root)
    except MissingDataError:
        return False
    return True


def load(root: Path, resolution: int | None) -> SourceData:
    """All images in the owners' partition, decoded on first use and cached for each resolution (None: 224).

    Labels are HP = 0 and SSA = 1; ``votes`` counts the annotators, of seven, who chose SSA.

    Raises:
        MissingDataError: no copy is there.
        DataError: a row of the annotations is wrong, names a missing file, or an image is broken.
    """
    folder = find_folder(root)
    rows = _read_annotations(folder)
    files = [row.path for row in rows]
    key = {
        "dataset": "mhist",
        "annotations": sha256_file(folder / "annotations.csv"),
        "files": describe_files(files),
        "resolution": resolution,
    }
    tensors, path = cached("mhist", key, lambda: {"pixels": decode_images(files, resolution)})
    train, test = (_part(rows, tensors["pixels"], partition) for partition in _PARTITIONS)
    return SourceData(train, test, CLASS_NAMES, files=(path,))


def look(root: Path) -> tuple[list[Path], list[int]]:
    """Image files, and the training images of each class.

    Raises:
        MissingDataError, DataError: as :func:`load`.
    """
    rows = _read_annotations(find_folder(root))
    labels = [row.label for row in rows if row.partition == "train"]
    return [row.path for row in rows], [labels.count(label) for label in range(len(CLASS_NAMES))]


def _part(rows: list[_Row], pixels: Tensor, partition: str) -> RawImages:
    places = [place for place, row in enumerate(rows) if row.partition == partition]
    return RawImages(
        pixels[torch.tensor(places)],
        torch.tensor([rows[place].label for place in places]),
        torch.tensor([rows[place].votes for place in places]),
    )


def _read_annotations(folder: Path) -> list[_Row]:
    path = folder / "annotations.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise DataError(
                    f"{path} has no column {missing[0]!r}; it needs {', '.join(map(repr, _COLUMNS))}"
                )
            rows = [_parse(row, folder, f"{path}, line {reader.line_num}") for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from error
    for partition in _PARTITIONS:
        if not any(row.partition == partition for row in rows):
            raise DataError(f"{path} assigns no image to the partition {partition!r}")
    seen: set[Path] = set()
    for row in rows:
        if row.path in seen:
            raise DataError(f"{path} names {row.path.name} twice")
        seen.add(row.path)
    return rows


def _parse(row: dict[str, str | None], folder: Path, where: str) -> _Row:
    name, label, votes, partition = ((row[column] or "").strip() for column in _COLUMNS)
    if label not in CLASS_NAMES:
        raise DataError(f"{where}: label {label!r} is not one of {', '.join(CLASS_NAMES)}")
    if partition not in _PARTITIONS:
        raise DataError(f"{where}: partition {partition!r} is not one of {', '.join(_PARTITIONS)}")
    if votes not in {str(count) for count in range(NUM_ANNOTATORS + 1)}:
        raise DataError(f"{where}: {votes!r} annotators chose SSA, expected 0 to {NUM_ANNOTATORS}")
    if not name or Path(name).name != name:
        raise DataError(f"{where}: image name {name!r} is not a plain file name")
    path = folder / "images" / name
    if not path.is_file():
        raise DataError(f"{where}: image {path} does not exist")
    return _Row(path, CLASS_NAMES.index(label), int(votes), partition)


register(
    DatasetSpec(
        name="mhist",
        description="3,152 colorectal polyps, 224 x 224 colour, 2 classes",
        load=load,
        prepare=decoding("mhist", load),
        is_present=is_present,
        augmentation=WITH_FLIP,
        resolution=224,
        channels=3,
        licence="research use, by agreement with its owners",
        how_to_get="request it at https://bmirds.github.io/MHIST/, then study data prepare mhist",
        look=look,
    )
)
