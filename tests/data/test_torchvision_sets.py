from __future__ import annotations

import hashlib
import pickle
import shutil
import struct

import numpy as np
import pytest
import torch
from torchvision import datasets

from study.core.errors import DataError, MissingDataError
from study.data import torchvision_sets
from study.data.splits import DataConfig, load_splits

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def write_idx(root, name: str, num_train: int = 60, num_test: int = 20):
    """Files in the layout of MNIST, filled with noise."""
    folder = root / FOLDERS[name] / "raw"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for prefix, count in (("train", num_train), ("t10k", num_test)):
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes()
        )
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 2049, count) + labels.tobytes()
        )
    return folder


@pytest.fixture
def cifar_root(tmp_path, monkeypatch):
    """Files in the layout of CIFAR-10, whose checksums torchvision is told."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)

    def write(name: str, value: object) -> list[str]:
        content = pickle.dumps(value)
        (folder / name).write_bytes(content)
        return [name, hashlib.md5(content).hexdigest()]

    def batch() -> dict[str, object]:
        pixels = random.integers(0, 256, (30, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [number % 10 for number in range(30)]}

    cifar = datasets.CIFAR10
    monkeypatch.setattr(
        cifar, "train_list", [write(f"data_batch_{number}", batch()) for number in range(1, 6)]
    )
    monkeypatch.setattr(cifar, "test_list", [write("test_batch", batch())])
    names = [f"thing {number}" for number in range(10)]
    _, checksum = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(cifar, "meta", {"filename": "batches.meta", "key": "label_names", "md5": checksum})
    return tmp_path


def test_mnist_is_read_from_its_raw_files(mnist_root):
    splits = load_splits("mnist", DataConfig(), mnist_root)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (54000, 6000, 10000)
    assert splits.image_shape == (1, 28, 28)
    assert (splits.preprocessing.mean, splits.preprocessing.std) == ((0.1307,), (0.3081,))
    assert splits.train.images.mean().abs() < 0.01
    assert splits.train.images.std().item() == pytest.approx(1, abs=0.01)
    assert splits.augmentation.strategy == "color_crop_cutout_scale_rotate"
    test = splits.test.open("compare with the published class counts of the test set")
    assert test.class_counts() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_pixels_are_those_torchvision_gives(tmp_path):
    write_idx(tmp_path, "mnist")
    source = torchvision_sets.load("mnist", tmp_path, None)
    expected = datasets.MNIST(tmp_path, train=True)
    assert torch.equal(source.train.pixels[:, 0], expected.data)
    assert torch.equal(source.train.labels, expected.targets)


def test_fashion_mnist_has_its_own_names_moments_and_flip(tmp_path):
    write_idx(tmp_path, "fashion-mnist", 200)
    splits = load_splits("fashion-mnist", DataConfig(), tmp_path)
    assert splits.class_names[0] == "T-shirt/top"
    assert splits.preprocessing.mean == (0.2861,)
    assert "flip" in splits.augmentation.operations


def test_cifar10_is_read_in_colour(cifar_root):
    splits = load_splits("cifar10", DataConfig(), cifar_root)
    assert splits.image_shape == (3, 32, 32)
    assert splits.class_names[3] == "thing 3"
    assert len(splits.train) + len(splits.validation) == 150
    batch = pickle.loads((cifar_root / "cifar-10-batches-py" / "test_batch").read_bytes())
    first = splits.preprocessing.invert(splits.test.open("compare with the file").images[:1])
    expected = torch.from_numpy(batch["data"][0].reshape(1, 3, 32, 32)).float() / 255
    torch.testing.assert_close(first, expected)


def test_an_altered_cifar_batch_is_named_and_never_unpickled(cifar_root, tmp_path):
    path = cifar_root / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(DataError, match="data_batch_2 is damaged: its checksum"):
        torchvision_sets.load("cifar10", cifar_root, None)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_missing_files_say_how_to_get_them(tmp_path, name):
    with pytest.raises(MissingDataError) as caught:
        load_splits(name, DataConfig(), tmp_path)
    assert f"study data prepare {name} --data-root {tmp_path}" in str(caught.value)


def test_one_missing_file_is_named(tmp_path):
    folder = write_idx(tmp_path, "mnist")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingDataError, match="t10k-labels-idx1-ubyte does not exist"):
        torchvision_sets.load("mnist", tmp_path, None)


@pytest.mark.parametrize(
    "file", ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte"]
)
@pytest.mark.parametrize("kept", [0, 5, 30])
def test_a_truncated_file_is_named(tmp_path, file, kept):
    folder = write_idx(tmp_path, "mnist")
    (folder / file).write_bytes((folder / file).read_bytes()[:kept])
    with pytest.raises(DataError, match=f"{file} is damaged or cut off"):
        torchvision_sets.load("mnist", tmp_path, None)


def test_files_of_different_copies_are_noticed(tmp_path):
    folder = write_idx(tmp_path / "a", "mnist")
    other = write_idx(tmp_path / "b", "mnist", num_train=50)
    shutil.copy(other / "train-labels-idx1-ubyte", folder)
    with pytest.raises(DataError, match=r"holds 60 images, train-labels-idx1-ubyte 50 labels"):
        torchvision_sets.load("mnist", tmp_path / "a", None)


def test_a_label_above_nine_is_refused(tmp_path):
    folder = write_idx(tmp_path, "mnist")
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(DataError, match="train-labels-idx1-ubyte is empty or holds a label above 9"):
        torchvision_sets.load("mnist", tmp_path, None)


def test_preparing_what_is_there_downloads_nothing(tmp_path):
    write_idx(tmp_path, "mnist")
    assert "nothing to download" in torchvision_sets.prepare("mnist", tmp_path, None)


def test_a_failed_download_says_where_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(MissingDataError, match=r"could not be downloaded .*copy its files to .*MNIST/raw"):
        torchvision_sets.prepare("mnist", tmp_path, None)
