"""Every export is read back by the tool it is meant for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from study.core.errors import ConfigError, UnknownNameError
from study.core.words import percent
from study.sets.exports import FORMATS, write_export
from study.sets.files import read_set
from study.sets.pixels import PixelRecord
from study.sets.preview import to_uint8


@pytest.fixture(params=["standard", "zca"])
def stored(request, tmp_path, set_factory):
    return read_set(set_factory(tmp_path / "set", ipc=2, soft=True, kind=request.param))


def levels_of(stored):
    return to_uint8(stored.preprocessing.invert(stored.images))[..., 0]


def test_npz_holds_every_array_bit_by_bit(stored, tmp_path):
    write_export(stored, "npz", tmp_path / "out")
    expected = load_file(stored.folder / "data.safetensors")
    with np.load(tmp_path / "out/data.npz", allow_pickle=False) as found:
        assert set(found) == {*expected, "class_names"}
        assert tuple(found["class_names"]) == stored.class_names
        for name, tensor in expected.items():
            assert found[name].dtype == tensor.numpy().dtype, name
            np.testing.assert_array_equal(found[name], tensor.numpy())


def test_torch_is_read_with_weights_only(stored, tmp_path):
    write_export(stored, "torch", tmp_path / "out")
    expected = load_file(stored.folder / "data.safetensors")
    found = torch.load(tmp_path / "out/data.pt", weights_only=True)
    assert tuple(found.pop("class_names")) == stored.class_names
    assert set(found) == set(expected)
    assert all(found[name].equal(tensor) for name, tensor in expected.items())


def test_imagefolder_is_read_by_torchvision_in_label_order(stored, tmp_path):
    from torchvision.datasets import ImageFolder

    done = write_export(stored, "imagefolder", tmp_path / "out")
    found = ImageFolder(tmp_path / "out", loader=Image.open)
    assert [name.split("_", 1)[1] for name in found.classes] == list(stored.class_names)
    assert [label for _, label in found.samples] == stored.labels.tolist()
    for (picture, _), level in zip(found, levels_of(stored), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), level)
    clipped = PixelRecord.of(stored.images, stored.preprocessing).clipped
    assert done["clipped"] == clipped
    assert f"{percent(clipped)} of the pixels" in (tmp_path / "out/README.md").read_text()
    assert "soft labels" in done["left_out"]


@pytest.mark.parametrize("way", ["folder", "parquet"])
def test_parquet_is_read_by_datasets(stored, tmp_path, way):
    datasets = pytest.importorskip("datasets")
    write_export(stored, "parquet", tmp_path / "out")
    cache = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    if way == "folder":
        found = datasets.load_dataset(str(tmp_path / "out"), **cache)
    else:
        files = str(tmp_path / "out/data/*.parquet")
        found = datasets.load_dataset("parquet", data_files=files, **cache)
    assert isinstance(found.features["image"], datasets.Image)
    assert found.features["label"].names == list(stored.class_names)
    assert found["label"][:] == stored.labels.tolist()
    for picture, level in zip(found["image"], levels_of(stored), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), level)
    arrays = found.with_format("numpy")
    for name, tensor in (("values", stored.images), ("logits", stored.logits)):
        values = np.stack(list(arrays[name]))
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, tensor.numpy())


def test_the_card_of_parquet_is_read_by_the_hub(stored, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    write_export(stored, "parquet", tmp_path / "out")
    card = hub.DatasetCard.load(tmp_path / "out/README.md")
    assert card.data.pretty_name == stored.manifest.name
    assert card.data.task_categories == ["image-classification"]


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_the_manifest_goes_along_and_nothing_is_overwritten(stored, tmp_path, format):
    done = write_export(stored, format, tmp_path / "out")
    assert json.loads((tmp_path / "out/set.json").read_text()) == stored.manifest.plain()
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert found == set(done["files"])
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_export(stored, format, tmp_path / "out")


def test_class_names_with_odd_signs_stay_inside(stored, tmp_path):
    names = tuple(f"../{name} / x" for name in stored.class_names)
    odd = replace(stored, synthetic=replace(stored.synthetic, class_names=names))
    write_export(odd, "imagefolder", tmp_path / "out")
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders[0] == "0_.._0_x"
    assert len(folders) == 10


def test_an_unknown_format_is_named_with_its_choices(stored, tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown export format 'npy'.*npz.*torch"):
        write_export(stored, "npy", tmp_path / "out")
    assert not (tmp_path / "out").exists()
