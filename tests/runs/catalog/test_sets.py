from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import study
from study.core.errors import ConfigError, CorruptSetError, TrackingError, UnknownSetError
from study.runs.catalog.runs import compare_runs
from study.runs.catalog.sets import download_set, list_sets, load_set, show_set, verify_sets
from study.runs.context.stores import StoreOptions, open_tracking
from study.sets.files import SET_FOLDER, read_manifest, read_set

NAME = "digits-dm-ipc1"


@pytest.fixture
def stores(memory_uri, set_factory, tmp_path):
    """A store in memory with two versions of one set; the first is the best."""
    folder = set_factory(tmp_path / "a-set")
    stores = StoreOptions(tracking_uri=memory_uri)
    tracker = open_tracking(stores)
    run = tracker.start_run("digits-ipc1", "trial-0")
    run.log_file(folder, SET_FOLDER)
    sha256 = read_manifest(folder).files["data.safetensors"].sha256
    for alias in ("best", None):
        tracker.register_set(folder, NAME, run_id=run.run_id, tags={"sha256": sha256}, card="", alias=alias)
    return stores


def spoil(stores, version, change):
    """Change the stored files of a version, as a bad disk or a stranger would."""
    change(open_tracking(stores)._sets[NAME, version][1])


def flip_a_byte(files):
    content = bytearray(files["data.safetensors"])
    content[-3] ^= 1
    files["data.safetensors"] = bytes(content)


def test_list_is_plain_and_newest_first(stores):
    sets = list_sets(stores)
    assert [(entry["version"], entry["aliases"]) for entry in sets] == [("2", []), ("1", ["best"])]
    assert json.loads(json.dumps(sets)) == sets
    assert list_sets(stores, "other") == []


def test_a_store_that_is_not_there_holds_no_sets_and_is_not_made(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert list_sets(StoreOptions()) == []
    with pytest.raises(TrackingError, match="no tracking store"):
        show_set(NAME, StoreOptions())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["", "@best", "/2"])
def test_download_gives_a_folder_that_stands_on_its_own(stores, tmp_path, suffix):
    target = tmp_path / "copy"
    done = download_set(f"{NAME}{suffix}", target, stores)
    assert done["folder"] == str(target)
    assert done["set"] == f"{NAME}/{'2' if suffix == '/2' else '1'}"
    stored = read_set(target)
    assert stored.manifest.files["data.safetensors"].sha256 == done["sha256"]
    assert set(done["files"]) == {"data.safetensors", "preview.png", "README.md"}


def test_download_into_an_empty_folder_and_by_default_under_its_name(stores, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    download_set(NAME, tmp_path / "empty", stores)
    monkeypatch.chdir(tmp_path)
    assert download_set(NAME, None, stores)["folder"] == NAME
    assert read_set(Path(NAME)).synthetic.ipc == 1


@pytest.mark.parametrize("kind", ["run", "folder"])
def test_run_ids_and_folders_are_references_too(stores, tmp_path, kind):
    reference = {
        "run": next(iter(open_tracking(stores).runs)),
        "folder": str(tmp_path / "a-set"),
    }[kind]
    download_set(reference, tmp_path / "copy", stores)
    assert torch.equal(read_set(tmp_path / "copy").images, load_set(reference, stores).images)
    assert show_set(reference, stores)["registered"] is None


def test_study_load_gives_images_and_a_dataset(stores):
    synthetic = study.load(f"{NAME}@best", tracking_uri=stores.tracking_uri)
    assert synthetic.images.shape == (10, 1, 8, 8)
    image, label = synthetic.as_dataset()[3]
    assert torch.equal(image, synthetic.images[3])
    assert int(label) == 3


def test_a_changed_byte_is_found_after_download_and_nothing_is_left(stores, tmp_path):
    spoil(stores, "1", flip_a_byte)
    before = set(tmp_path.iterdir())
    for call in (
        lambda: download_set(NAME, tmp_path / "copy", stores),
        lambda: load_set(NAME, stores),
        lambda: show_set(NAME, stores),
    ):
        with pytest.raises(CorruptSetError, match=rf"{NAME}: data\.safetensors was changed"):
            call()
    assert set(tmp_path.iterdir()) == before


def test_a_missing_file_is_found_after_download(stores):
    spoil(stores, "1", lambda files: files.pop("preview.png"))
    with pytest.raises(CorruptSetError, match=rf"{NAME}: preview\.png is missing"):
        load_set(NAME, stores)


def test_a_set_replaced_together_with_its_manifest_is_found_by_the_registry(stores, tmp_path, set_factory):
    other = set_factory(tmp_path / "other", seeds={"root": 1}, soft=True)
    spoil(stores, "1", lambda files: files.update({path.name: path.read_bytes() for path in other.iterdir()}))
    with pytest.raises(CorruptSetError, match="both replaced"):
        load_set(NAME, stores)


def test_show_has_the_manifest_and_the_card(stores):
    shown = show_set(NAME, stores)
    assert shown["manifest"]["dataset"] == "digits"
    assert shown["card"].startswith(f"# {NAME}")
    assert shown["registered"]["version"] == "1"
    assert json.loads(json.dumps(shown)) == shown


def test_verify_judges_every_version_and_goes_on_after_a_fault(stores):
    assert [verdict["whole"] for verdict in verify_sets((), stores)] == [True, True]
    spoil(stores, "2", flip_a_byte)
    verdicts = {verdict["set"]: verdict for verdict in verify_sets((), stores)}
    assert verdicts[f"{NAME}/1"]["whole"]
    assert "was changed" in verdicts[f"{NAME}/2"]["fault"]
    (unknown,) = verify_sets(["nothing"], stores)
    assert not unknown["whole"]


def test_unknown_sets_and_folders(stores, tmp_path):
    with pytest.raises(UnknownSetError, match="Did you mean"):
        load_set("digits-dm-ipc", stores)
    with pytest.raises(UnknownSetError, match="no run"):
        load_set("0" * 32, stores)
    with pytest.raises(UnknownSetError, match="not a folder"):
        load_set(str(tmp_path / "nothing"), stores)


def test_a_target_in_use_is_left_alone(stores, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not an empty folder"):
        download_set(NAME, tmp_path / "copy", stores)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["mine.txt"]
    with pytest.raises(ConfigError, match="cannot write"):
        download_set(NAME, tmp_path / "copy" / "mine.txt" / "deeper", stores)


def test_a_copy_of_a_folder_leaves_junk_behind(stores, tmp_path):
    (tmp_path / "a-set" / "junk.bin").write_bytes(b"0" * 100)
    download_set(str(tmp_path / "a-set"), tmp_path / "copy", stores)
    assert not (tmp_path / "copy" / "junk.bin").exists()


def test_the_real_store_serves_a_verified_copy(store_root, tmp_path, set_factory):
    folder = set_factory(tmp_path / "a-set", ipc=2)
    stores = StoreOptions(root=store_root)
    tracker = open_tracking(stores)
    run = tracker.start_run("digits-ipc2", "trial-0")
    tracker.register_set(folder, "digits-dm-ipc2", run_id=run.run_id, tags={}, card="", alias="best")
    done = download_set("digits-dm-ipc2@best", tmp_path / "copy", stores)
    assert read_manifest(tmp_path / "copy") == read_manifest(folder)
    stored = next((store_root / "artifacts").rglob("data.safetensors"))
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(CorruptSetError, match="was changed"):
        download_set("digits-dm-ipc2@best", tmp_path / "second", stores)
    assert not (tmp_path / "second").exists()
    assert len(done["sha256"]) == 64


def test_every_question_goes_to_the_store_below_the_root(store_root, set_factory, tmp_path, monkeypatch):
    folder = set_factory(tmp_path / "a-set")
    stores = StoreOptions(root=store_root)
    tracker = open_tracking(stores)
    run = tracker.start_run("digits-ipc1", "search", tags={"study.kind": "search"})
    tracker.register_set(folder, NAME, run_id=run.run_id, tags={}, card="", alias="best")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert [entry["version"] for entry in list_sets(stores)] == ["1"]
    assert show_set(NAME, stores)["registered"]["aliases"] == ["best"]
    assert [verdict["whole"] for verdict in verify_sets((), stores)] == [True]
    assert len(load_set(NAME, stores)) == 10
    assert download_set(NAME, tmp_path / "copy", stores)["set"] == f"{NAME}/1"
    (row,) = compare_runs([NAME], stores)
    assert row["run_id"] == run.run_id
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["/home/x/.ssh", "../outside", "a/b", "..", ".ssh", "a\\b"])
def test_a_set_does_not_choose_where_its_copy_goes(name, stores, tmp_path, monkeypatch):
    manifest = tmp_path / "a-set" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "name": name}))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="no plain folder name; give --output FOLDER"):
        download_set(str(tmp_path / "a-set"), None, stores)
    assert sorted(tmp_path.rglob("*")) == before
    assert download_set(str(tmp_path / "a-set"), Path("mine"), stores)["folder"] == "mine"
