"""Two folders of pictures keep apart: by their names, and by what they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import study
from study.core.errors import ConfigError, DataError
from study.data.names import check_data_name, name_of_folder
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.registration.promotion import compare_with_holder
from study.tracking.base import RegisteredSet

COUNTS = {"train/cat": 12, "train/dog": 12, "test/cat": 4, "test/dog": 4}
ASKED = {"ipc": 1, "budget": "smoke", "resolution": 8}


@pytest.fixture
def flowers(tmp_path: Path, build_folder: Callable[..., Path]) -> Path:
    return build_folder(tmp_path / "one" / "flowers", COUNTS)


def distil(root: Path, uri: str, **more: object) -> study.SearchResult:
    return study.distill("random", "folder", data_root=root, tracking_uri=uri, **{**ASKED, **more})  # type: ignore[arg-type]


def test_another_folder_of_the_same_name_takes_nothing(
    flowers: Path, tmp_path: Path, build_folder: Callable[..., Path], memory_uri: str
) -> None:
    made = distil(flowers, memory_uri)
    assert made.winner.set == "flowers-random-ipc1-8px/1"
    assert made.dataset == "flowers"
    other = build_folder(tmp_path / "two" / "flowers", COUNTS, mode="L")
    with pytest.raises(DataError, match="give these a name of their own, such as --dataset-name flowers-2"):
        distil(other, memory_uri)
    second = distil(other, memory_uri, dataset_name="flowers-2")
    assert second.winner.set == "flowers-2-random-ipc1-8px/1"
    tracker = open_tracking(StoreOptions(memory_uri))
    assert tracker.resolve_set("flowers-random-ipc1-8px@best").version == "1"
    experiments = {run.experiment for run in tracker.find_runs(tags={"study.kind": "distill"})}
    assert experiments == {"flowers-ipc1-8px", "flowers-2-ipc1-8px"}
    assert distil(flowers, memory_uri, seed=1).winner.set == "flowers-random-ipc1-8px/2"
    found = study.evaluate(
        "flowers-random-ipc1-8px@best", seeds=1, pool="none", full_data=False, data_root=flowers,
        tracking_uri=memory_uri,
    )  # fmt: skip
    assert found.n == 1


def test_a_version_carries_licence_and_privacy(flowers: Path, memory_uri: str) -> None:
    made = distil(flowers, memory_uri)
    (entry,) = study.sets(tracking_uri=memory_uri)
    assert entry["tags"]["licence"] == "yours"
    assert (
        "2 of 2 images are near copies of real training images, 2 of them exact" in entry["tags"]["privacy"]
    )
    shown = study.show(made.winner.set, tracking_uri=memory_uri)
    assert entry["tags"]["privacy"] in shown["card"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my flowers", "my-flowers"), ("mnist", "mnist-folder"), ("folder", "folder"), ("ä ö", "folder")],
)
def test_a_folder_gives_its_own_name(folder: str, name: str, tmp_path: Path) -> None:
    assert name_of_folder(tmp_path / folder, "folder") == name
    assert check_data_name(name) == name


@pytest.mark.parametrize(
    ("dataset", "name", "message"),
    [
        ("folder", "a/b", "use letters, digits"),
        ("folder", "digits", "must not be mistaken for; try digits-folder"),
        ("digits", "mine", "only your own images"),
    ],
)
def test_names_that_cannot_be_given(dataset: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study.configure("dm", dataset, dataset_name=name)


def test_the_name_decides_no_result() -> None:
    one, two = (study.configure("dm", "folder", dataset_name=name) for name in ("a", "b"))
    assert one.set_name != two.set_name
    assert one.digest == two.digest


def test_old_versions_of_other_folders_do_not_take_the_alias_from_each_other() -> None:
    tags = {"dataset": "folder", "fit": "yes", "val_accuracy": "0.5", "fingerprint": "one"}
    holder = RegisteredSet("folder-dm-ipc1", "1", ("best",), tags, "r", 0.0)
    other = {**tags, "fingerprint": "two", "val_accuracy": "0.9"}
    allowed, words = compare_with_holder(other, holder)
    assert (allowed, words) == (False, "version 1 was made from other images of your own and stays best")
    assert compare_with_holder({**other, "dataset": "digits"}, holder)[0]
    assert compare_with_holder({**other, "fingerprint": "one"}, holder)[0]
