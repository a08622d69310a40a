from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from study.core.config import build
from study.core.errors import ConfigError, DataError, UnknownNameError
from study.data import digits
from study.data.datasets import find_dataset
from study.data.source import RawImages, SourceData, fingerprint, resize, stratified_split
from study.data.splits import DataConfig, load_splits, resolve_data_root, split_source


@pytest.fixture(scope="module")
def splits():
    return load_splits("digits", DataConfig())


def rows(images: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in images.flatten(1).tolist()}


def tiny_source(counts: list[int]) -> SourceData:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    pixels = (
        torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    )
    part = RawImages(pixels, labels)
    return SourceData(part, part, tuple(f"class {label}" for label in range(len(counts))))


def test_digits_are_whole_and_normalised(splits):
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1293, 144, 360)
    assert splits.image_shape == (1, 8, 8)
    assert splits.class_names == tuple("0123456789")
    assert splits.train.images.mean().abs() < 1e-5
    assert splits.train.images.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert splits.augmentation.strategy == "color_crop_cutout_scale_rotate"


def test_parts_are_disjoint(splits):
    test = splits.test.open("check that the parts are disjoint")
    parts = [rows(part.images) for part in (splits.train, splits.validation, test)]
    assert sum(len(part) for part in parts) == len(set().union(*parts))


def test_parts_are_stratified(splits):
    test = splits.test.open("check that classes are in proportion")
    whole = torch.tensor(splits.train.class_counts()) + torch.tensor(splits.validation.class_counts())
    whole += torch.tensor(test.class_counts())
    for part in (splits.validation, test):
        expected = whole * (len(part) / whole.sum())
        assert (torch.tensor(part.class_counts()) - expected).abs().max() <= 1
    assert splits.class_counts()["validation"] == splits.validation.class_counts()


def test_the_same_call_gives_the_same_tensors(splits):
    before = torch.get_rng_state()
    again = load_splits("digits", DataConfig())
    assert torch.equal(again.train.images, splits.train.images)
    assert torch.equal(again.validation.labels, splits.validation.labels)
    assert again.fingerprint == splits.fingerprint
    assert torch.equal(torch.get_rng_state(), before)


def test_the_split_seed_moves_validation_but_never_test(splits):
    other = load_splits("digits", DataConfig(split_seed=1))
    assert rows(other.preprocessing.invert(other.validation.images)) != rows(
        splits.preprocessing.invert(splits.validation.images)
    )
    reason = "compare the test sets of two split seeds"
    first, second = (s.preprocessing.invert(s.test.open(reason).images) for s in (splits, other))
    torch.testing.assert_close(first, second)
    assert other.fingerprint == splits.fingerprint


def test_the_test_set_opens_for_a_reason_and_remembers_it(caplog):
    test = load_splits("digits", DataConfig()).test
    assert test.reasons == []
    with pytest.raises(DataError, match="stated reason"):
        test.open(" ")
    assert test.reasons == []
    with caplog.at_level(logging.INFO):
        opened = test.open("final score of the winner")
    assert test.reasons == ["final score of the winner"]
    assert "final score of the winner" in caplog.text
    assert len(opened) == len(test) == 360


def test_test_labels_are_not_in_plain_sight(splits):
    assert not hasattr(splits.test, "labels")
    assert "tensor" not in repr(splits.test)


def test_preprocessing_is_fitted_on_training_images_alone(splits):
    pixels = splits.preprocessing.invert(splits.train.images)
    assert splits.preprocessing.mean[0] == pytest.approx(pixels.mean().item(), abs=1e-6)
    everything = torch.cat([pixels, splits.preprocessing.invert(splits.validation.images)])
    assert splits.preprocessing.mean[0] != pytest.approx(everything.mean().item(), abs=1e-9)


@pytest.mark.parametrize("kind", ["zca", "none"])
def test_other_preprocessing(kind):
    splits = load_splits("digits", DataConfig(preprocessing=kind))
    assert splits.preprocessing.kind == kind
    pixels = splits.preprocessing.invert(splits.train.images)
    assert pixels.min() > -1e-4
    assert pixels.max() < 1 + 1e-4


def test_resolution_resizes_any_dataset():
    splits = load_splits("digits", DataConfig(resolution=12))
    assert splits.image_shape == (1, 12, 12)
    assert splits.fingerprint != load_splits("digits", DataConfig()).fingerprint


def test_resizing_to_the_same_size_changes_nothing():
    source = digits.load(resolve_data_root(None), None)
    assert resize(source, 8) is source


def test_resizing_keeps_the_brightness():
    source = tiny_source([4, 4])
    larger = resize(source, 9)
    assert torch.equal(larger.train.pixels[:, 0, 0, 0], source.train.pixels[:, 0, 0, 0])
    assert larger.train.pixels.shape == (8, 1, 9, 9)


def test_the_fingerprint_sees_a_pixel_a_label_and_a_name():
    source = tiny_source([5, 5])
    pixels, labels = source.train.pixels.clone(), source.train.labels.clone()
    pixels[3, 0, 1, 1] += 1
    labels[0] = 1
    changed = [
        replace(source, train=RawImages(pixels, source.train.labels)),
        replace(source, train=RawImages(source.train.pixels, labels)),
        replace(source, test=RawImages(pixels, source.test.labels)),
        replace(source, class_names=("class 0", "class one")),
    ]
    prints = {fingerprint(each) for each in (source, *changed)}
    assert len(prints) == 5
    assert fingerprint(tiny_source([5, 5])) in prints


@pytest.mark.parametrize(
    ("fraction", "counts", "message"),
    [
        (0.1, [1, 9], "class 'class 0' has 1 image"),
        (0.05, [10, 10], "validation fraction 0.05 of 20 images in 2 classes"),
        (0.1, [40, 2], "leaves class 'class 1' .2 images. without an image in validation"),
    ],
)
def test_what_cannot_be_split_is_refused(fraction, counts, message):
    config = DataConfig(validation_fraction=fraction)
    with pytest.raises(DataError, match=message):
        split_source(find_dataset("folder"), tiny_source(counts), config)


def test_every_class_is_on_both_sides():
    labels = torch.tensor([0] * 50 + [1] * 6)
    kept, held = stratified_split(labels, 0.2, 0, ("a", "b"), "validation")
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(56))
    assert set(labels[held].tolist()) == {0, 1}


def test_a_class_smaller_than_ipc_is_named():
    with pytest.raises(DataError, match="ipc 200 is more than the 125 training images of class '8'"):
        load_splits("digits", DataConfig(), min_per_class=200)
    assert load_splits("digits", DataConfig(), min_per_class=125).train.class_counts()[8] == 125


def test_balance_is_judged_by_the_training_classes():
    spec = find_dataset("folder")
    config = DataConfig(validation_fraction=0.2)
    assert not split_source(spec, tiny_source([20, 25]), config).train.is_unbalanced
    assert split_source(spec, tiny_source([20, 40]), config).train.is_unbalanced


def test_an_unknown_dataset_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'fashion-mnist'"):
        load_splits("fashion_mnist", DataConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation_fraction": 0}, "data.validation_fraction = 0: Input should be greater than 0"),
        ({"validation_fraction": 1.0}, "less than 1"),
        ({"augmentation": "flop"}, "Did you mean 'flip'"),
        ({"preprocessing": "pca"}, "data.preprocessing"),
        ({"resolution": 2}, "greater than or equal to 4"),
        ({"augmentation_ranges": {"rotate": 3}}, "unknown key"),
    ],
)
def test_bad_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(DataConfig, values, "data")


def test_settings_of_augmentation_reach_the_splits():
    config = build(DataConfig, {"augmentation": "flip", "augmentation_ranges": {"rotate_degrees": 30}})
    augmentation = load_splits("digits", config).augmentation
    assert (augmentation.strategy, augmentation.rotate_degrees) == ("flip", 30)


def test_the_data_root_is_the_argument_then_the_variable_then_here(monkeypatch, tmp_path):
    monkeypatch.delenv("STUDY_DATA", raising=False)
    assert str(resolve_data_root(None)) == "data"
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    assert resolve_data_root(None) == tmp_path
    assert resolve_data_root(tmp_path / "other") == tmp_path / "other"


def test_whitening_is_fitted_once_for_each_split(cache_of_tests):
    config = DataConfig(preprocessing="zca", resolution=10)
    first = load_splits("digits", config)
    kept = set(cache_of_tests.rglob("zca-*.safetensors"))
    again = load_splits("digits", config)
    assert set(cache_of_tests.rglob("zca-*.safetensors")) == kept
    assert torch.equal(first.train.images, again.train.images)
    other = load_splits("digits", config.model_copy(update={"split_seed": 1}))
    assert len(set(cache_of_tests.rglob("zca-*.safetensors")) - kept) == 1
    assert not torch.equal(first.preprocessing.zca_matrix, other.preprocessing.zca_matrix)


def test_whitening_too_large_a_picture_is_refused_before_any_work(mhist_root):
    with pytest.raises(DataError, match=r"zca of images \(3, 72, 72\) needs a matrix of 15552"):
        load_splits("mhist", DataConfig(preprocessing="zca", resolution=72), mhist_root)
