"""Every dataset that is here, or that a test can make, keeps to the contract; the contract can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from study.data.datasets import DATASETS, find_dataset
from study.data.source import RawImages
from study.data.splits import DataConfig, split_source
from study.testing import DatasetContract


class TestDigits(DatasetContract):
    dataset = "digits"


class TestMnist(DatasetContract):
    dataset = "mnist"

    @pytest.fixture
    def data_root(self, mnist_root):
        return mnist_root


class TestMhist(DatasetContract):
    dataset = "mhist"
    resolution = 32

    @pytest.fixture
    def data_root(self, mhist_root):
        return mhist_root


class TestPneumonia(DatasetContract):
    dataset = "pneumoniamnist"

    @pytest.fixture
    def data_root(self, pneumonia_root):
        return pneumonia_root


class TestBlood(DatasetContract):
    dataset = "bloodmnist"

    @pytest.fixture
    def data_root(self, tmp_path, build_medmnist):
        return build_medmnist(tmp_path, "bloodmnist", 8, 3)


class TestFolder(DatasetContract):
    dataset = "folder"

    @pytest.fixture
    def data_root(self, tmp_path, build_folder):
        return build_folder(
            tmp_path / "own", {"train/cat": 12, "train/dog": 14, "test/cat": 5, "test/dog": 5}
        )

    other_resolution = 8


def medmnist_names():
    """Every set of ours whose files are MedMNIST's."""
    return [name for name, spec in DATASETS.items() if "medmnist" in spec.how_to_get]


def test_every_dataset_of_the_package_is_registered():
    own = {"cifar10", "digits", "fashion-mnist", "folder", "mhist", "mnist"}
    assert list(DATASETS) == sorted(own | set(medmnist_names()))
    assert find_dataset("mnist").resolution == 28


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return find_dataset("digits").load(tmp_path_factory.mktemp("root"), None)


def with_test_of_train(source):
    return replace(source, test=source.train)


def without_a_class(source):
    return replace(source, train=source.train.subset(torch.nonzero(source.train.labels != 3).flatten()))


def with_test_of_validation(source):
    return replace(source, validation=source.test)


def with_too_bright_pixels(source):
    return replace(source, train=RawImages(source.train.pixels * 2, source.train.labels))


@pytest.mark.parametrize(
    ("spoil", "test"),
    [
        (with_test_of_train, "test_splits_are_disjoint_and_whole"),
        (with_test_of_validation, "test_splits_are_disjoint_and_whole"),
        (without_a_class, "test_pixels_and_labels_are_in_range"),
        (with_too_bright_pixels, "test_pixels_and_labels_are_in_range"),
    ],
)
def test_the_contract_catches(digits, spoil, test):
    contract, spoiled = TestDigits(), spoil(digits)
    known = {"source": spoiled}
    if "disjoint" in test:
        known["splits"] = split_source(find_dataset("digits"), spoiled, DataConfig())
    with pytest.raises(AssertionError):
        getattr(contract, test)(**known)
