from __future__ import annotations

import csv

import pytest
import torch
from PIL import Image

from study.core.errors import DataError, MissingDataError
from study.data import mhist
from study.data.splits import DataConfig, load_splits

VOTES = "Number of Annotators who Selected SSA (Out of 7)"


@pytest.fixture
def copy(build_mhist, tmp_path):
    return build_mhist(tmp_path / "mhist", 24, 16)


def edit(folder, line: int, **cells: str) -> None:
    """Change cells of one data row (1 is the first) of the annotations."""
    path = folder / "annotations.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[line - 1].update({key.replace("_", " "): value for key, value in cells.items()})
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_owners_layout_is_read(mhist_root):
    splits = load_splits("mhist", DataConfig(resolution=32), mhist_root)
    assert splits.image_shape == (3, 32, 32)
    assert splits.class_names == ("HP", "SSA")
    counts = splits.class_counts()
    assert [a + b for a, b in zip(counts["train"], counts["validation"], strict=True)] == [60, 30]
    assert splits.test.open("count the owners' test partition").class_counts() == [20, 10]
    assert splits.train.is_unbalanced
    assert splits.augmentation.strategy == "color_crop_cutout_flip_scale_rotate"


def test_votes_follow_their_images(mhist_root):
    splits = load_splits("mhist", DataConfig(resolution=16), mhist_root)
    test = splits.test.open("compare labels with votes")
    for part, votes in (
        (splits.train, splits.train_votes),
        (splits.validation, splits.validation_votes),
        (test, splits.test.votes("compare labels with votes")),
    ):
        assert torch.equal((votes >= 4).long(), part.labels)
        assert len(votes.unique()) > 2
    assert splits.test.reasons[-1] == "annotator votes: compare labels with votes"


def test_the_files_own_size_is_the_default(mhist_root):
    source = mhist.load(mhist_root, None)
    assert source.image_shape == (3, 224, 224)
    first = Image.open(mhist_root / "mhist" / "images" / "MHIST_003.png")
    pixels = torch.tensor(
        list(first.get_flattened_data() if hasattr(first, "get_flattened_data") else first.getdata())
    )
    assert torch.equal(source.train.pixels[0].permute(1, 2, 0).reshape(-1, 3).int(), pixels.int())


def test_the_root_may_be_the_folder_itself_or_hold_it(build_mhist, tmp_path):
    folder = build_mhist(tmp_path / "MHIST", 24, 16)
    assert mhist.find_folder(tmp_path) == folder
    assert mhist.find_folder(folder) == folder
    assert mhist.is_present(tmp_path)


def test_images_are_decoded_once_for_each_content_and_resolution(copy, monkeypatch):
    first = mhist.load(copy, 8)
    stamp = first.files[0].stat().st_mtime_ns
    again = mhist.load(copy, 8)
    assert again.files == first.files
    assert again.files[0].stat().st_mtime_ns == stamp
    assert torch.equal(again.train.pixels, first.train.pixels)
    assert mhist.load(copy, 12).files != first.files
    Image.new("RGB", (16, 16), "red").save(copy / "images" / "MHIST_003.png")
    changed = mhist.load(copy, 8)
    assert changed.files != first.files
    assert not torch.equal(changed.train.pixels, first.train.pixels)


def test_missing_data_says_where_to_ask_and_where_to_put_it(tmp_path):
    with pytest.raises(MissingDataError, match=r"https://bmirds.github.io/MHIST/") as caught:
        mhist.load(tmp_path, None)
    assert str(tmp_path / "mhist") in str(caught.value)
    assert not mhist.is_present(tmp_path)


def test_a_packed_archive_is_noticed(copy):
    (copy / "images").rename(copy / "elsewhere")
    with pytest.raises(MissingDataError, match=r"unpack the owners' images.zip"):
        mhist.load(copy, None)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"Image_Name": "MHIST_999.png"}, r"line 3: image .*MHIST_999.png does not exist"),
        ({"Image_Name": "../images/MHIST_001.png"}, "line 3: image name .* is not a plain file name"),
        ({"Image_Name": "MHIST_000.png"}, "names MHIST_000.png twice"),
        ({"Majority_Vote_Label": "TA"}, "line 3: label 'TA' is not one of HP, SSA"),
        ({"Partition": "validation"}, "line 3: partition 'validation' is not one of train, test"),
        ({VOTES.replace(" ", "_"): "8"}, "line 3: '8' annotators chose SSA, expected 0 to 7"),
    ],
)
def test_a_wrong_row_is_named(copy, cells, message):
    edit(copy, 2, **cells)
    with pytest.raises(DataError, match=message):
        mhist.load(copy, 8)


@pytest.mark.parametrize("column", ["Image Name", "Majority Vote Label", VOTES, "Partition"])
def test_a_missing_column_is_named(copy, column):
    path = copy / "annotations.csv"
    path.write_text(path.read_text().replace(column, "Something"))
    with pytest.raises(DataError, match="has no column") as caught:
        mhist.load(copy, 8)
    assert f"no column {column!r}" in str(caught.value)


def test_an_empty_partition_is_named(copy):
    path = copy / "annotations.csv"
    path.write_text(path.read_text().replace(",test", ",train"))
    with pytest.raises(DataError, match="no image to the partition 'test'"):
        mhist.load(copy, 8)


def test_a_truncated_image_is_named_and_leaves_no_cache(copy, cache_of_tests):
    before = sorted(cache_of_tests.rglob("*.safetensors"))
    path = copy / "images" / "MHIST_005.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"MHIST_005.png cannot be decoded"):
        mhist.load(copy, 8)
    assert sorted(cache_of_tests.rglob("*.safetensors")) == before


def test_annotations_that_are_no_text_are_refused(copy):
    (copy / "annotations.csv").write_bytes(b"\xff\xfe\x00\x81\x00")
    with pytest.raises(DataError, match="not a readable CSV"):
        mhist.load(copy, 8)
