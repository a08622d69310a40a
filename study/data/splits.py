"""A dataset divided into train, validation and a sealed test set, preprocessed and ready to use."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import Field, field_validator
from torch import Tensor

from study.core.config import Frozen
from study.core.errors import DataError
from study.core.records import ImageDataset
from study.data.augment import AugmentationConfig, AugmentationRanges
from study.data.cache import cached
from study.data.datasets import find_dataset
from study.data.names import check_data_name
from study.data.preprocess import Kind, Preprocessing, check_zca_size, fit_standard, fit_zca
from study.data.source import DatasetSpec, RawImages, SourceData, fingerprint, stratified_split

_LOG = logging.getLogger(__name__)


class DataConfig(Frozen):
    """How real images are loaded, divided, preprocessed and augmented."""

    name: str | None = None
    """Of the user's own images, in experiments and registered sets; None for datasets that have a name."""
    resolution: int | None = Field(None, ge=4)
    """Pixels a side to resize to; by default the size of the files."""
    preprocessing: Kind = "standard"
    """``standard`` (mean and deviation of each channel), ``zca`` (whitening), or ``none``."""
    zca_epsilon: float = Field(0.1, gt=0)
    """Added to the eigenvalues of whitening; 0.1 in MTT and its heirs."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of the training images held out for every choice; no effect where a dataset ships its validation images."""
    split_seed: int = Field(0, ge=0, lt=2**32)
    """Of that split alone; apart from the run's seed, so that runs compare."""
    augmentation: str | None = None
    """Operations of DSA joined by ``_``, ``none``, or None for the dataset's default."""
    augmentation_ranges: AugmentationRanges = AugmentationRanges()
    """How far each operation may go."""

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str | None) -> str | None:
        return name if name is None else check_data_name(name)

    @field_validator("augmentation")
    @classmethod
    def _known_operations(cls, strategy: str | None) -> str | None:
        if strategy is not None:
            AugmentationConfig(strategy=strategy)
        return strategy


@dataclass(frozen=True, eq=False)
class SealedTest:
    """The test set, whose labels are out of reach until someone says what for.

    Attributes:
        reasons: every reason given so far, oldest first.
    """

    _images: RawImages = field(repr=False)
    _class_names: tuple[str, ...]
    _max_value: int
    _preprocessing: Preprocessing = field(repr=False)
    reasons: list[str] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        return len(self._images)

    def open(self, reason: str) -> ImageDataset:
        """The test images in normalised space; the reason is kept and logged.

        Raises:
            DataError: the reason is blank.
        """
        if not reason.strip():
            raise DataError(
                "the test set opens for a stated reason only, such as 'final score of the winner'"
            )
        self.reasons.append(reason)
        _LOG.info("test set opened: %s", reason)
        return _normalise(self._images, self._max_value, self._class_names, self._preprocessing)

    def votes(self, reason: str) -> Tensor | None:
        """[n] int64 annotators who chose class 1, or None; kept and logged like :meth:`open`."""
        self.reasons.append(f"annotator votes: {reason}")
        return self._images.votes


@dataclass(frozen=True, eq=False)
class DataSplits:
    """One dataset under one configuration.

    Attributes:
        name: of the dataset.
        train: what methods see, normalised, on the CPU.
        validation: what every choice is made on, likewise.
        test: opened once, for a winner.
        preprocessing: the map that was applied.
        fingerprint: SHA-256 (hex) over images and labels as loaded.
        class_names: one name a class, in label order.
        augmentation: DSA with its strategy resolved.
        train_votes: [n] int64 annotators who chose class 1, or None; likewise ``validation_votes``.
    """

    name: str
    train: ImageDataset
    validation: ImageDataset
    test: SealedTest
    preprocessing: Preprocessing
    fingerprint: str
    class_names: tuple[str, ...]
    augmentation: AugmentationConfig
    train_votes: Tensor | None = None
    validation_votes: Tensor | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.train.image_shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def class_counts(self) -> dict[str, list[int]]:
        """Images of each class in train and validation, in label order; test stays sealed."""
        return {"train": self.train.class_counts(), "validation": self.validation.class_counts()}


def resolve_data_root(data_root: Path | None) -> Path:
    """Where real datasets lie: the argument, else ``STUDY_DATA``, else ``./data``."""
    return data_root if data_root is not None else Path(os.environ.get("STUDY_DATA") or "data")


def load_splits(
    dataset: str, config: DataConfig, data_root: Path | None = None, *, min_per_class: int = 1
) -> DataSplits:
    """Load a dataset and divide it; the same call gives the same tensors on every machine.

    ``min_per_class`` are the training images that every class must have, such as the IPC.

    Raises:
        UnknownNameError: no dataset has that name.
        MissingDataError: its files are not there; the message says how to get them.
        DataError: a file is broken, or a class is too small for the split or for ``min_per_class``.
    """
    spec = find_dataset(dataset)
    source = spec.load(resolve_data_root(data_root), config.resolution)
    return split_source(spec, source, config, min_per_class=min_per_class)


def split_source(
    spec: DatasetSpec, source: SourceData, config: DataConfig, *, min_per_class: int = 1
) -> DataSplits:
    """Divide and preprocess images that are loaded already; :func:`load_splits` says the rest."""
    names = source.class_names
    train, validation = _divide(spec, source, config)
    _check_smallest_class(train, names, min_per_class)
    mark = fingerprint(source)
    preprocessing = _fit(spec, config, source, train, mark)
    strategy = spec.augmentation if config.augmentation is None else config.augmentation
    return DataSplits(
        name=spec.name,
        train=_normalise(train, source.max_value, names, preprocessing),
        validation=_normalise(validation, source.max_value, names, preprocessing),
        test=SealedTest(source.test, names, source.max_value, preprocessing),
        preprocessing=preprocessing,
        fingerprint=mark,
        class_names=names,
        augmentation=AugmentationConfig(strategy=strategy, **config.augmentation_ranges.model_dump()),
        train_votes=train.votes,
        validation_votes=validation.votes,
    )


def _divide(spec: DatasetSpec, source: SourceData, config: DataConfig) -> tuple[RawImages, RawImages]:
    """Train and validation as the dataset ships them, else drawn from its training images."""
    if source.validation is None:
        kept, held = stratified_split(
            source.train.labels,
            config.validation_fraction,
            config.split_seed,
            source.class_names,
            "validation",
        )
        return source.train.subset(kept), source.train.subset(held)
    for key in ("validation_fraction", "split_seed"):
        value = getattr(config, key)
        if value != DataConfig.model_fields[key].default:
            _LOG.warning(
                "data.%s = %s has no effect: %s ships its own validation images", key, value, spec.name
            )
    return source.train, source.validation


def _check_smallest_class(train: RawImages, class_names: tuple[str, ...], min_per_class: int) -> None:
    counts = train.class_counts(len(class_names))
    smallest = min(range(len(counts)), key=counts.__getitem__)
    if counts[smallest] < min_per_class:
        raise DataError(
            f"ipc {min_per_class} is more than the {counts[smallest]} training images of class "
            f"{class_names[smallest]!r}; use at most {counts[smallest]}"
        )


def _fit(
    spec: DatasetSpec, config: DataConfig, source: SourceData, train: RawImages, mark: str
) -> Preprocessing:
    shape = source.image_shape
    if config.preprocessing == "none":
        return Preprocessing("none", shape)
    if config.preprocessing == "zca":
        return _fit_zca_once(config, source, train, mark)
    if spec.mean is not None and spec.std is not None:
        return Preprocessing("standard", shape, spec.mean, spec.std)
    return fit_standard(_to_unit(train.pixels, source.max_value))


def _fit_zca_once(config: DataConfig, source: SourceData, train: RawImages, mark: str) -> Preprocessing:
    """The whitening of these training images, kept: that of CIFAR-10 takes half a minute."""
    split, epsilon = [config.validation_fraction, config.split_seed], config.zca_epsilon
    key = {"fingerprint": mark, "split": split, "epsilon": epsilon}
    check_zca_size(source.image_shape)
    tensors, _ = cached(
        "zca", key, lambda: fit_zca(_to_unit(train.pixels, source.max_value), epsilon).tensors()
    )
    mean, matrix = tensors["zca_mean"], tensors["zca_matrix"]
    return Preprocessing("zca", source.image_shape, zca_mean=mean, zca_matrix=matrix, zca_epsilon=epsilon)


def _normalise(
    images: RawImages, max_value: int, class_names: tuple[str, ...], preprocessing: Preprocessing
) -> ImageDataset:
    pixels = preprocessing.apply(_to_unit(images.pixels, max_value))
    return ImageDataset(pixels, images.labels, class_names)


def _to_unit(pixels: Tensor, max_value: int) -> Tensor:
    return pixels.to(torch.float32).div_(max_value)
