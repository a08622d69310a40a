"""The size of images that keeps to a budget, from counts and headers alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from study.cli.app import app
from study.core.errors import DataError, MissingDataError
from study.data.datasets import find_dataset
from study.data.extent import extent
from study.runs.config.configure import Request, configure
from study.runs.config.resolution import SIDES, with_fitting_side
from study.testing.pictures import write_mhist, write_ragged


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ragged(tmp_path_factory.mktemp("ragged"), {"disc": 30, "stripes": 20})


def _large(root: Path, side: int, number: int) -> Path:
    for name in ("a", "b"):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for place in range(number):
            Image.new("RGB", (side, side)).save(folder / f"{place}.png")
    return root


def test_own_pictures_are_counted_without_decoding_them(ragged: Path) -> None:
    found = extent(find_dataset("folder"), ragged)
    assert found.num_channels == 3
    assert not found.one_size
    assert found.class_counts == (24, 16), "a fifth of each class is for test"
    sizes = []
    for path in (ragged / "train").rglob("*.png"):
        with Image.open(path) as image:
            sizes.append(min(image.size))
    assert min(found.height, found.width) == min(sizes)


def test_a_dataset_that_loads_quickly_is_loaded() -> None:
    found = extent(find_dataset("digits"), Path("nowhere"))
    assert (found.num_channels, found.height, found.width, found.one_size) == (1, 8, 8, True)
    assert len(found.class_counts) == 10


def test_mhist_is_counted_by_its_annotations(tmp_path: Path) -> None:
    folder = write_mhist(tmp_path / "mhist", 40, 224)
    found = extent(find_dataset("mhist"), folder.parent)
    assert (found.height, found.width, found.num_channels) == (224, 224, 3)
    rows = (folder / "annotations.csv").read_text(encoding="utf-8").splitlines()[1:]
    train = [row for row in rows if row.endswith("train")]
    assert found.class_counts == tuple(sum(f",{name}," in row for row in train) for name in ("HP", "SSA"))


def test_pictures_of_many_sizes_get_one_that_none_is_smaller_than(ragged: Path) -> None:
    found = extent(find_dataset("folder"), ragged)
    request = with_fitting_side(Request("dm", "folder", 1), ragged)
    side = configure(request).data.resolution
    assert side in SIDES
    assert side <= min(found.height, found.width)


def test_small_pictures_of_one_size_stay_as_they_are(tmp_path: Path) -> None:
    root = _large(tmp_path, 32, 12)
    config = configure(with_fitting_side(Request("dm", "folder", 1), root))
    assert config.data.resolution is None
    assert "keeps to the budget" in config.work.chosen["data.resolution"]


def test_larger_budgets_take_larger_pictures(tmp_path: Path) -> None:
    root = _large(tmp_path, 224, 12)
    sides = []
    for seconds in (1, 20, 1e6):
        limits = {"work": {"trial_seconds": seconds, "score_seconds": seconds}}
        request = with_fitting_side(Request("pad", "folder", 10, overrides=limits), root)
        sides.append(configure(request).data.resolution or 224)
    assert sides == sorted(sides)
    assert sides[0] < sides[-1] == 224
    paper = with_fitting_side(Request("pad", "folder", 10, "paper"), root)
    assert configure(paper).data.resolution is None, "a budget without limits takes images as they are"


def test_why_is_no_part_of_what_decides_the_result(ragged: Path) -> None:
    request = with_fitting_side(Request("dm", "folder", 1), ragged)
    side = configure(request).data.resolution
    stated = configure(Request("dm", "folder", 1, overrides={"data": {"resolution": side}}))
    assert configure(request).digest == stated.digest


def test_missing_and_broken_pictures_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no folder train"):
        with_fitting_side(Request("dm", "folder"), tmp_path)
    root = _large(tmp_path / "broken", 16, 2)
    (root / "train" / "a" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        with_fitting_side(Request("dm", "folder"), root)


def test_the_command_chooses_and_says_why(ragged: Path) -> None:
    words = ["tune", "-m", "dm", "-d", "folder", "--data-root", str(ragged), "--budget", "quick"]
    planned = CliRunner().invoke(app, [*words, "--resolution", "auto", "--dry-run", "--json"])
    assert planned.exit_code == 0, planned.output
    plan = json.loads(planned.stdout)
    side = plan["data"]["image_shape"][1]
    assert side in SIDES
    assert plan["chosen"]["data.resolution"].startswith(f"{side}: ")
    refused = CliRunner().invoke(app, [*words, "--resolution", "large", "--dry-run"])
    assert refused.exit_code == 2
    assert "neither auto nor a whole number" in refused.output
