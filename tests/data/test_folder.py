from __future__ import annotations

import logging

import pytest
import torch
from PIL import Image

from study.core.errors import DataError, MissingDataError
from study.core.reporting import listening
from study.data import folder
from study.data.splits import DataConfig, load_splits


def test_train_and_test_are_read_in_alphabetical_order(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/dog": 6, "train/cat": 5, "test/cat": 2, "test/dog": 3})
    source = folder.load(root, None)
    assert source.class_names == ("cat", "dog")
    assert source.train.class_counts(2) == [5, 6]
    assert source.test.class_counts(2) == [2, 3]
    with Image.open(root / "train" / "dog" / "4.png") as image:
        expected = torch.tensor([image.getpixel((x, 7)) for x in range(12)])
    assert torch.equal(source.train.pixels[5 + 4, :, 7].T.int(), expected.int())


def test_without_a_test_folder_a_fifth_is_held_out_for_good(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 20, "train/b": 30})
    first = load_splits("folder", DataConfig(split_seed=0), root)
    second = load_splits("folder", DataConfig(split_seed=9), root)
    tests = [splits.test.open("compare two split seeds") for splits in (first, second)]
    assert tests[0].class_counts() == [4, 6]
    pixels = [s.preprocessing.invert(t.images) for s, t in zip((first, second), tests, strict=True)]
    torch.testing.assert_close(*pixels)


def test_decoding_is_told_of_once(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 7, "train/b": 5})
    told = []
    with listening(lambda *work: told.append(work)):
        folder.load(root, 8)
        folder.load(root, 8)
    assert [done for name, done, _ in told if name == "decoding images"] == [0, 12, 12]
    assert {total for _, _, total in told} == {12}


def test_gray_only_if_all_are_gray(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4}, mode="L")
    assert folder.load(root, None).image_shape == (1, 12, 12)
    Image.new("RGB", (12, 12)).save(root / "train" / "b" / "colour.png")
    assert folder.load(root, None).image_shape == (3, 12, 12)


def test_sizes_that_differ_need_a_resolution(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    Image.new("RGB", (20, 10)).save(root / "train" / "b" / "wide.png")
    with pytest.raises(DataError, match=r"wide.png is 20 x 10 pixels, but .* is 12 x 12; give --resolution"):
        folder.load(root, None)
    assert folder.load(root, 9).image_shape == (3, 9, 9)


def test_each_resolution_is_decoded_for_itself(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    assert [folder.load(root, size).image_shape[1] for size in (None, 8, 9, 8)] == [12, 8, 9, 8]


def test_wide_images_keep_their_proportions(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (10, 0, 30, 20))
    picture.save(root / "train" / "a" / "zz.png")
    source = folder.load(root, 10)
    # The smoothing filter sees one pixel beyond the square, so its border is not purely white.
    middles = torch.cat([source.train.pixels, source.test.pixels])[:, :, :, 1:-1]
    white = [image for image in middles if (image == 255).all()]
    assert len(white) == 1, "the middle square is white, the black sides are cut away"


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "gif", "tiff", "webp", "PNG"])
def test_common_formats_are_read(build_folder, tmp_path, suffix):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    Image.new("RGB", (12, 12), (200, 10, 10)).save(root / "train" / "a" / f"0.{suffix}")
    source = folder.load(root, None)
    assert source.train.class_counts(2)[0] + source.test.class_counts(2)[0] == 5


def test_turned_and_transparent_pictures_are_shown_as_viewers_do(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1}, size=(6, 12))
    turned = Image.new("RGB", (12, 6))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "train" / "a" / "turned.jpg", exif=exif)
    palette = Image.new("P", (6, 12))
    palette.save(root / "train" / "b" / "palette.png", transparency=b"\x00" * 256)
    assert folder.load(root, None).image_shape == (3, 12, 6)


def test_sixteen_bit_images_are_refused(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    Image.new("I;16", (12, 12)).save(root / "train" / "a" / "deep.png")
    with pytest.raises(DataError, match=r"deep.png has pixels of mode 'I;16'; convert it to 8 bits"):
        folder.load(root, None)


@pytest.mark.parametrize("content", [b"", b"not an image at all"])
def test_a_file_that_is_no_image_is_named(build_folder, tmp_path, content):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    (root / "train" / "b" / "broken.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"broken.jpg cannot be decoded"):
        folder.load(root, None)


def test_a_truncated_jpeg_is_named(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4}, size=(64, 64))
    path = root / "train" / "b" / "cut.jpg"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"cut.jpg cannot be decoded: .*truncated"):
        folder.load(root, None)


def test_other_files_are_ignored_aloud_and_hidden_ones_in_silence(build_folder, tmp_path, caplog):
    root = build_folder(tmp_path, {"train/a": 4, "train/b": 4})
    (root / "train" / "a" / "notes.txt").write_text("mine")
    (root / "train" / "a" / ".DS_Store").write_text("theirs")
    with caplog.at_level(logging.WARNING):
        folder.load(root, None)
    assert "notes.txt is ignored" in caplog.text
    assert ".DS_Store" not in caplog.text


def test_missing_data_says_where_images_go(tmp_path):
    with pytest.raises(MissingDataError, match=r"has no folder train; put your images into .*<class>"):
        folder.load(tmp_path, None)


def test_an_empty_class_folder_is_named(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 4, "train/empty": 0})
    with pytest.raises(DataError, match=r"class folder .*empty has no images"):
        folder.load(root, None)


def test_one_class_is_not_enough(build_folder, tmp_path):
    with pytest.raises(DataError, match=r"has 1 class folder\(s\); at least 2"):
        folder.load(build_folder(tmp_path, {"train/a": 4}), None)


@pytest.mark.parametrize(
    ("test_classes", "message"),
    [
        (["a"], "class 'b' is in train but not in test"),
        (["a", "b", "c"], "class 'c' is in test but not in train"),
    ],
)
def test_train_and_test_need_the_same_classes(build_folder, tmp_path, test_classes, message):
    root = build_folder(
        tmp_path, {"train/a": 2, "train/b": 2, **{f"test/{name}": 1 for name in test_classes}}
    )
    with pytest.raises(DataError, match=message):
        folder.load(root, None)


def test_a_class_with_one_image_cannot_be_split(build_folder, tmp_path):
    root = build_folder(tmp_path, {"train/a": 1, "train/b": 9})
    with pytest.raises(DataError, match=r"class 'a' has 1 image\(s\), which cannot be split"):
        load_splits("folder", DataConfig(), root)
