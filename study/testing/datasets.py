"""What every real dataset keeps to, as tests to inherit."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from study.core.errors import DataError, MissingDataError
from study.data.augment import AugmentationConfig
from study.data.datasets import DATASETS, find_dataset
from study.data.source import DatasetSpec, SourceData, fingerprint
from study.data.splits import DataConfig, DataSplits, resolve_data_root, split_source


class DatasetContract:
    """Tests of one dataset; they are skipped where its files are not in the data root.

    Attributes:
        dataset: what users write after ``--dataset``.
        resolution: pixels a side to test at; None for the size of the files.
        other_resolution: another size, for the test that it is honoured; None for a dataset of one size.

    Example::

        class TestScans(DatasetContract):
            dataset = "scans"
            resolution = 32

            @pytest.fixture
            def data_root(self):
                return Path("tests/scans")
    """

    dataset: ClassVar[str]
    resolution: ClassVar[int | None] = None
    other_resolution: ClassVar[int | None] = 12

    @pytest.fixture
    def data_root(self) -> Path:
        """Where the files lie: ``STUDY_DATA`` or ``./data`` unless a subclass says otherwise."""
        return resolve_data_root(None)

    @pytest.fixture
    def spec(self) -> DatasetSpec:
        """The dataset as it is registered."""
        return find_dataset(self.dataset)

    @pytest.fixture
    def source(self, spec: DatasetSpec, data_root: Path) -> SourceData:
        """Everything as its files hold it."""
        if not spec.is_present(data_root):
            pytest.skip(f"{spec.name} is not in {data_root}: {spec.how_to_get}")
        return _load_once(spec.name, data_root, self.resolution)

    @pytest.fixture
    def splits(self, spec: DatasetSpec, source: SourceData) -> DataSplits:
        """Its default split."""
        return split_source(spec, source, DataConfig(resolution=self.resolution))

    def test_it_is_registered_and_describes_itself(self, spec: DatasetSpec) -> None:
        """Users find it by name and read what it is, on what terms, and how to get it."""
        assert spec.name == self.dataset
        assert self.dataset in DATASETS
        for text in (spec.description, spec.licence, spec.how_to_get):
            assert text.strip()
            assert "\n" not in text
        AugmentationConfig(strategy=spec.augmentation)
        assert (spec.mean is None) == (spec.std is None)

    def test_it_has_the_size_it_states(self, spec: DatasetSpec, source: SourceData) -> None:
        """Channels and pixels a side are those of the images."""
        channels, height, width = source.image_shape
        assert spec.channels in (None, channels)
        side = self.resolution or spec.resolution
        assert side is None or (height, width) == (side, side)
        assert len({part.pixels.shape[1:] for part in source.parts}) == 1

    def test_pixels_and_labels_are_in_range(self, source: SourceData) -> None:
        """Pixels are whole numbers up to the full brightness; every class is in every part."""
        for part in source.parts:
            assert part.pixels.dtype is torch.uint8
            assert len(part.pixels) == len(part.labels) > 0
            assert int(part.pixels.max()) <= source.max_value
            assert part.labels.dtype is torch.int64
            assert int(part.labels.min()) >= 0
            counts = part.class_counts(len(source.class_names))
            assert len(counts) == len(source.class_names), "a label has no class name"
            assert min(counts) > 0, f"a class has no image: {counts}"
            assert part.votes is None or part.votes.shape == part.labels.shape
        assert len(set(source.class_names)) == len(source.class_names)

    def test_the_same_files_give_the_same_fingerprint(
        self, spec: DatasetSpec, source: SourceData, data_root: Path
    ) -> None:
        """Loading draws no random numbers and keeps an order."""
        assert fingerprint(spec.load(data_root, self.resolution)) == fingerprint(source)

    def test_splits_are_disjoint_and_whole(self, source: SourceData, splits: DataSplits) -> None:
        """Train and validation share out what is not tested, as shipped or drawn; the test set is another one."""
        known = torch.cat([part.pixels for part in source.parts[:-1]])
        pixels = splits.preprocessing.apply(known.float() / source.max_value)
        together = torch.cat([splits.train.images, splits.validation.images])
        assert _rows(together) == _rows(pixels)
        assert all(count > 0 for counts in splits.class_counts().values() for count in counts)
        if source.validation is not None:
            assert torch.equal(splits.validation.labels, source.validation.labels)
        shared = (_rows(known) & _rows(source.test.pixels)).total()
        assert shared <= 0.01 * len(source.test), f"{shared} test images are in train or validation"

    def test_the_test_set_is_sealed(self, source: SourceData, splits: DataSplits) -> None:
        """It opens for a stated reason only, which is kept."""
        with pytest.raises(DataError, match="reason"):
            splits.test.open(" ")
        assert splits.test.reasons == []
        opened = splits.test.open("contract of datasets")
        assert splits.test.reasons == ["contract of datasets"]
        assert torch.equal(opened.labels, source.test.labels)

    def test_images_are_normalised_and_come_back(self, splits: DataSplits) -> None:
        """Each channel has about mean 0 and deviation 1, and the pixels can be had again."""
        channels = splits.train.images.transpose(0, 1).flatten(1)
        std, mean = torch.std_mean(channels, dim=1)
        assert bool((mean.abs() < 0.1).all()), f"channels have means {mean.tolist()}"
        # Deviations that are published for CIFAR-10 are too small by a fifth.
        assert bool(((std > 0.7) & (std < 1.4)).all()), f"channels have deviations {std.tolist()}"
        pixels = splits.preprocessing.invert(splits.train.images)
        assert float(pixels.min()) > -1e-5
        assert float(pixels.max()) < 1 + 1e-5

    def test_another_resolution_is_honoured(
        self, spec: DatasetSpec, source: SourceData, data_root: Path
    ) -> None:
        """Images become squares of the size that was asked for; classes stay."""
        if self.other_resolution is None:
            pytest.skip(f"{self.dataset} has one size")
        resized = spec.load(data_root, self.other_resolution)
        assert resized.image_shape[1:] == (self.other_resolution, self.other_resolution)
        assert torch.equal(resized.train.labels, source.train.labels)

    def test_preparing_what_is_there_says_so_in_a_line(
        self, spec: DatasetSpec, source: SourceData, data_root: Path
    ) -> None:
        """The line is shown to users."""
        line = spec.prepare(data_root, self.resolution)
        assert line.strip()
        assert "\n" not in line

    def test_files_that_are_not_there_are_missed(self, spec: DatasetSpec, tmp_path: Path) -> None:
        """The error names the folder, and is one that users meet without a traceback."""
        if spec.is_present(tmp_path):
            pytest.skip(f"{self.dataset} needs no files")
        with pytest.raises(MissingDataError, match=tmp_path.name):
            spec.load(tmp_path, self.resolution)


@functools.lru_cache(maxsize=1)
def _load_once(dataset: str, data_root: Path, resolution: int | None) -> SourceData:
    return find_dataset(dataset).load(data_root, resolution)


def _rows(images: Tensor) -> Counter[bytes]:
    """How often each image occurs."""
    return Counter(row.numpy().tobytes() for row in images)
