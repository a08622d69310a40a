from __future__ import annotations

import io
import logging
import pickle

import numpy as np
import pytest
import torch

from study.core.errors import DataError, MissingDataError, UnknownNameError
from study.data.datasets import DATASETS, find_dataset
from study.data.source import fingerprint
from study.data.splits import DataConfig, load_splits
from study.evaluation.metrics import headline_metric, score_logits

NAMES = (
    "bloodmnist", "breastmnist", "dermamnist", "octmnist", "organamnist", "organcmnist", "organsmnist",
    "pathmnist", "pneumoniamnist", "retinamnist", "tissuemnist",
)  # fmt: skip


def path_of(root, name):
    return root / "medmnist" / f"{name}.npz"


@pytest.mark.parametrize(
    ("name", "num_classes", "channels"),
    [("pneumoniamnist", 2, 1), ("dermamnist", 7, 3), ("organsmnist", 11, 1), ("breastmnist", 2, 1)],
)
def test_pixels_and_labels_are_those_of_the_file(tmp_path, build_medmnist, name, num_classes, channels):
    root = build_medmnist(tmp_path, name, num_classes, channels)
    source = find_dataset(name).load(root, None)
    arrays = np.load(path_of(root, name))
    assert source.image_shape == (channels, 28, 28)
    assert len(source.class_names) == num_classes
    for part, images in zip(("train", "val", "test"), source.parts, strict=True):
        pixels = images.pixels.numpy()
        stored = arrays[f"{part}_images"]
        assert np.array_equal(pixels[:, 0] if channels == 1 else pixels.transpose(0, 2, 3, 1), stored)
        assert images.labels.tolist() == arrays[f"{part}_labels"].ravel().tolist()


def test_every_set_is_offered_with_its_terms():
    for name in NAMES:
        spec = find_dataset(name)
        assert "Yang et al. 2023" in spec.licence
        assert spec.licence.startswith("CC BY-NC 4.0;" if name == "dermamnist" else "CC BY 4.0;")
    assert sum(spec.how_to_get.endswith("/medmnist/") for spec in DATASETS.values()) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_has_no_side_is_mirrored(name):
    is_mirrored = "flip" in find_dataset(name).augmentation.split("_")
    assert is_mirrored == (name != "pneumoniamnist" and not name.startswith("organ"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("chestmnist", "'chestmnist' is not offered: each of its X-rays has 14 labels"),
        ("organmnist3d", "'organmnist3d' is not offered: it holds volumes"),
    ],
)
def test_what_has_no_class_an_image_is_refused(name, reason):
    assert name not in DATASETS
    with pytest.raises(UnknownNameError, match=reason):
        find_dataset(name)


def test_official_validation_images_are_kept(tmp_path, build_medmnist):
    root = build_medmnist(tmp_path, "pneumoniamnist", 2, 1)
    splits = load_splits("pneumoniamnist", DataConfig(), root)
    source = find_dataset("pneumoniamnist").load(root, None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (60, 30, 30)
    for part, raw in ((splits.train, source.train), (splits.validation, source.validation)):
        pixels = splits.preprocessing.invert(part.images) * 255
        torch.testing.assert_close(pixels, raw.pixels.float(), atol=1e-3, rtol=0)
        assert torch.equal(part.labels, raw.labels)


@pytest.mark.parametrize("setting", [{"split_seed": 5}, {"validation_fraction": 0.3}])
def test_settings_without_effect_are_said(tmp_path, build_medmnist, caplog, setting):
    root = build_medmnist(tmp_path, "pneumoniamnist", 2, 1)
    default = load_splits("pneumoniamnist", DataConfig(), root)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        other = load_splits("pneumoniamnist", DataConfig(**setting), root)
    [(key, value)] = setting.items()
    expected = f"data.{key} = {value} has no effect: pneumoniamnist ships its own validation images"
    assert [record.getMessage() for record in caplog.records] == [expected]
    assert torch.equal(other.validation.images, default.validation.images)
    caplog.clear()
    load_splits("digits", DataConfig(**setting))
    assert not caplog.records


def test_the_fingerprint_sees_the_validation_images(tmp_path, build_medmnist):
    def darken(arrays):
        arrays["val_images"][3, 1, 1] ^= 1

    spec = find_dataset("breastmnist")
    first = spec.load(build_medmnist(tmp_path, "breastmnist", 2, 1), None)
    second = spec.load(build_medmnist(tmp_path, "breastmnist", 2, 1, change=darken), None)
    assert torch.equal(first.train.pixels, second.train.pixels)
    assert fingerprint(first) != fingerprint(second)


def test_unbalanced_classes_get_balanced_accuracy_and_area(tmp_path, build_medmnist):
    def rare(arrays):
        arrays["train_labels"][:] = (np.arange(60) % 4 == 0)[:, None]
        arrays["val_labels"][:] = (np.arange(30) % 4 == 0)[:, None]

    splits = load_splits(
        "pneumoniamnist", DataConfig(), build_medmnist(tmp_path, "pneumoniamnist", 2, 1, change=rare)
    )
    assert headline_metric(splits.validation) == "balanced_accuracy"
    undecided = torch.zeros(30, 2)
    scores = score_logits(undecided, splits.validation)
    assert scores["balanced_accuracy"] == scores["auc"] == 0.5
    assert scores["accuracy"] == pytest.approx(22 / 30)


def test_a_larger_file_is_read_where_it_is_there(tmp_path, build_medmnist):
    root = build_medmnist(tmp_path, "retinamnist", 5, 3)
    spec = find_dataset("retinamnist")
    enlarged = spec.load(root, 64)
    build_medmnist(root, "retinamnist_64", 5, 3, side=64)
    read = spec.load(root, 64)
    stored = np.load(path_of(root, "retinamnist_64"))["val_images"].transpose(0, 3, 1, 2)
    assert np.array_equal(read.validation.pixels.numpy(), stored)
    assert enlarged.validation.pixels.shape == read.validation.pixels.shape
    assert fingerprint(enlarged) != fingerprint(read)
    for resolution, side in ((None, 28), (28, 28), (32, 32), (128, 128)):
        assert {part.pixels.shape[2:] for part in spec.load(root, resolution).parts} == {(side, side)}


def test_a_larger_file_alone_counts_as_here_but_is_asked_for_by_its_size(tmp_path, build_medmnist):
    root = build_medmnist(tmp_path, "breastmnist_128", 2, 1, side=128)
    spec = find_dataset("breastmnist")
    assert spec.is_present(root)
    assert spec.load(root, 128).image_shape == (1, 128, 128)
    with pytest.raises(MissingDataError, match=r"breastmnist.npz does not exist"):
        spec.load(root, None)


def test_a_missing_file_says_where_from_and_where_to(tmp_path):
    spec = find_dataset("pathmnist")
    assert not spec.is_present(tmp_path)
    with pytest.raises(MissingDataError) as caught:
        spec.load(tmp_path, None)
    assert str(path_of(tmp_path, "pathmnist")) in str(caught.value)
    assert "get pathmnist.npz from https://zenodo.org/records/10519652" in str(caught.value)


def drop(key):
    return lambda arrays: arrays.pop(key)


def put(key, change):
    return lambda arrays: arrays.update({key: change(arrays[key])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("val_images"), "has no array 'val_images'; a MedMNIST file has train_images, train_labels"),
        (put("train_images", lambda a: a[..., 0]), r"train_images is uint8 \[60, 28\], .* \[n, 28, 28\]"),
        (put("test_images", lambda a: a.repeat(2, 1)), r"test_images is uint8 \[30, 56, 28\]"),
        (put("val_images", lambda a: a / 255), r"val_images is float64 \[30, 28, 28\]"),
        (put("train_images", lambda a: np.stack([a] * 3, 3)), r"train_images is uint8 \[60, 28, 28, 3\]"),
        (put("train_labels", lambda a: a[:-1]), r"train_labels is uint8 \[59, 1\], .* \[60, 1\]"),
        (put("val_labels", lambda a: a.repeat(14, 1)), r"val_labels is uint8 \[30, 14\]"),
        (put("test_labels", lambda a: a.astype(float)), "test_labels is float64"),
        (put("val_labels", lambda a: a + 1), r"val_labels holds the labels 1, 2; .* each of 0 to 1"),
        (put("train_labels", lambda a: a * 0), "train_labels holds the labels 0; "),
        (lambda a: a.update({k: v[:0] for k, v in a.items()}), "train_labels holds the labels of no image"),
        (put("test_labels", lambda a: a.astype(object)), "no readable .npz file .*allow_pickle=False"),
    ],
)
def test_a_foreign_file_is_one_line_that_names_the_fault(tmp_path, build_medmnist, change, message):
    root = build_medmnist(tmp_path, "pneumoniamnist", 2, 1, change=change)
    with pytest.raises(DataError, match=message) as caught:
        find_dataset("pneumoniamnist").load(root, None)
    assert str(path_of(root, "pneumoniamnist")) in str(caught.value)
    assert "\n" not in str(caught.value)


def as_npy(content):
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


def with_a_flipped_byte(content):
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-30],
        lambda content: b"",
        lambda content: b"<html>404</html>",
        lambda content: pickle.dumps({"train_images": [1]}),
        as_npy,
        with_a_flipped_byte,
    ],
    ids=["half", "end", "empty", "page", "pickle", "npy", "byte"],
)
def test_a_damaged_file_is_one_line(tmp_path, build_medmnist, spoil):
    root = build_medmnist(tmp_path, "pneumoniamnist", 2, 1)
    path = path_of(root, "pneumoniamnist")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(
        DataError, match=r"is no readable .npz file \(.*\); get it again from https"
    ) as caught:
        find_dataset("pneumoniamnist").load(root, None)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_preparing_counts_the_parts(tmp_path, build_medmnist):
    root = build_medmnist(tmp_path, "tissuemnist", 8, 1)
    line = find_dataset("tissuemnist").prepare(root, None)
    assert line.startswith("tissuemnist: 60 / 30 / 30 train, validation and test images in ")


def test_the_real_file_is_whole(pneumonia_root):
    splits = load_splits("pneumoniamnist", DataConfig(), pneumonia_root)
    assert splits.class_counts() == {"train": [1214, 3494], "validation": [135, 389]}
    test = splits.test.open("count the official test images")
    assert test.class_counts() == [234, 390]
    assert splits.class_names == ("normal", "pneumonia")
    assert splits.train.is_unbalanced
    # Pneumonia clouds the lungs: the official labels say which pictures are brighter in their middle.
    middles = splits.train.images[:, 0, 8:20, 6:22].mean((1, 2))
    normal, pneumonia = (middles[splits.train.labels == label].mean() for label in (0, 1))
    assert pneumonia > normal
