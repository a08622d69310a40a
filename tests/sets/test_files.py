from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from study.core.errors import ConfigError, CorruptSetError, ShapeError, UnknownSetError
from study.core.records import StepSchedule, SyntheticSet
from study.data.preprocess import Preprocessing
from study.sets.files import read_manifest, read_set, stored_files, verify_set, write_set
from study.sets.manifest import SCHEMA_VERSION, Manifest

FILES = {"data.safetensors", "manifest.json", "preview.png", "README.md"}


@pytest.fixture
def folder(tmp_path, set_factory):
    return set_factory(tmp_path / "set", ipc=2)


def small_set(**changes):
    facts = {
        "images": torch.arange(32.0).view(2, 1, 4, 4) / 32,
        "labels": torch.tensor([0, 1]),
        "class_names": ("no", "yes"),
    }
    return SyntheticSet(**{**facts, **changes})


PLAIN = Preprocessing("none", (1, 4, 4))
MANIFEST = Manifest(name="toy", dataset="toy", method="random")


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def rewrite_data(folder, change):
    """Change tensors and keep the hashes honest, as a careless writer would."""
    path = folder / "data.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    record = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    edit_manifest(folder, lambda values: values["files"].update({path.name: record}))


@pytest.mark.parametrize("kind", ["standard", "zca", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_what_was_written_is_read_back(tmp_path, set_factory, kind, soft):
    folder = set_factory(tmp_path / "set", ipc=2, soft=soft, kind=kind)
    assert {path.name for path in folder.iterdir()} == FILES
    stored = read_set(folder)
    tensors = load_file(folder / "data.safetensors")
    assert torch.equal(stored.images, tensors["images"])
    assert torch.equal(stored.labels, torch.arange(10).repeat_interleave(2))
    assert (stored.logits is not None) == soft
    assert stored.synthetic.step_size == (0.03 if soft else None)
    assert stored.preprocessing.kind == kind
    assert (stored.synthetic.ipc, stored.synthetic.num_classes, len(stored)) == (2, 10, 20)
    assert stored.manifest.image_shape == (1, 8, 8)
    assert stored.manifest.soft_labels == soft
    real = torch.rand(3, 1, 8, 8)
    assert torch.equal(stored.normalise(real), stored.preprocessing.apply(real))
    assert torch.allclose(stored.preprocessing.invert(stored.normalise(real)), real, atol=1e-4)
    images, targets = stored.as_dataset().tensors
    assert torch.equal(images, stored.images)
    assert targets.shape == ((20, 10) if soft else (20,))


def test_facts_of_the_set_replace_what_the_caller_gave(tmp_path):
    manifest = MANIFEST.model_copy(update={"ipc": 99, "class_names": ("x",), "num_images": 5})
    written = write_set(tmp_path / "set", small_set(), manifest, PLAIN)
    assert (written.ipc, written.class_names, written.num_images) == (1, ("no", "yes"), 2)
    assert read_manifest(tmp_path / "set") == written


SCHEDULE = StepSchedule(torch.tensor([[0, 1], [1, 0], [0, 1]]), torch.tensor([0.1, 0.3, 0.2]), 2**63 - 1)


@pytest.mark.parametrize("seed", [None, 2**63 - 1])
def test_a_schedule_comes_back_as_it_was(tmp_path, seed):
    schedule = StepSchedule(SCHEDULE.order, SCHEDULE.step_sizes, seed)
    written = write_set(tmp_path / "set", small_set(schedule=schedule), MANIFEST, PLAIN)
    assert (written.schedule.num_steps, written.schedule.batch_size) == (3, 2)
    stored = read_set(tmp_path / "set")
    assert torch.equal(stored.schedule.order, schedule.order)
    assert torch.equal(stored.schedule.step_sizes, schedule.step_sizes)
    assert stored.schedule.network_seed == stored.manifest.schedule.network_seed == seed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("schedule.order"), r"no tensor 'schedule\.order'"),
        (lambda tensors: tensors.pop("schedule.step_sizes"), r"no tensor 'schedule\.step_sizes'"),
        (lambda tensors: tensors.update({"schedule.order": SCHEDULE.order + 1}), "images 1 to 2"),
        (lambda tensors: tensors.update({"schedule.step_sizes": -SCHEDULE.step_sizes}), "above 0"),
        (
            lambda tensors: tensors.update({"schedule.order": SCHEDULE.order[:, :1].contiguous()}),
            "has schedule",
        ),
    ],
)
def test_a_schedule_that_contradicts_the_manifest(tmp_path, change, message):
    write_set(tmp_path / "set", small_set(schedule=SCHEDULE), MANIFEST, PLAIN)
    rewrite_data(tmp_path / "set", change)
    with pytest.raises(CorruptSetError, match=message):
        read_set(tmp_path / "set")


def test_a_schedule_that_the_manifest_does_not_know(tmp_path):
    write_set(tmp_path / "set", small_set(schedule=SCHEDULE), MANIFEST, PLAIN)
    edit_manifest(tmp_path / "set", lambda values: values.pop("schedule"))
    with pytest.raises(CorruptSetError, match="has schedule"):
        read_set(tmp_path / "set")


def test_a_set_from_before_schedules_is_read(folder):
    def age(values):
        assert values.pop("schedule") is None
        values["schema_version"] = 1

    edit_manifest(folder, age)
    stored = read_set(folder)
    assert stored.schedule is None
    assert stored.manifest.schema_version == 1
    write_set(folder.parent / "copy", stored.synthetic, stored.manifest, stored.preprocessing)
    assert read_manifest(folder.parent / "copy").schema_version == SCHEMA_VERSION


WRITE = """
import sys, torch
from pathlib import Path
from study.core.records import StepSchedule, SyntheticSet
from study.data.preprocess import Preprocessing
from study.sets.files import write_set
from study.sets.manifest import Manifest
generator = torch.Generator().manual_seed(7)
images = torch.randn(4, 3, 4, 4, generator=generator)
logits = torch.randn(4, 2, generator=generator)
synthetic = SyntheticSet(images, torch.tensor([0, 0, 1, 1]), ("a", "b"), logits)
preprocessing = Preprocessing("standard", (3, 4, 4), (0.5,) * 3, (0.2,) * 3)
written = write_set(Path(sys.argv[1]), synthetic, Manifest(name="t", dataset="t", method="m"), preprocessing)
print(written.files["data.safetensors"].sha256)
"""


def test_the_same_set_has_the_same_bytes_in_two_processes(tmp_path, capsys, monkeypatch):
    command = [sys.executable, "-c", WRITE, str(tmp_path / "first")]
    hashes = [subprocess.run(command, capture_output=True, text=True, check=True).stdout]
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "second")])
    exec(WRITE, {})
    hashes.append(capsys.readouterr().out)
    assert hashes[0] == hashes[1]
    assert len(hashes[0].strip()) == 64
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_another_layout_in_memory_gives_the_same_bytes(tmp_path):
    images = torch.randn(2, 3, 4, 4)
    preprocessing = Preprocessing("none", (3, 4, 4))
    hashes = {
        write_set(tmp_path / name, small_set(images=layout), MANIFEST, preprocessing)
        .files["data.safetensors"]
        .sha256
        for name, layout in (("a", images), ("b", images.to(memory_format=torch.channels_last)))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("name", ["data.safetensors", "preview.png", "README.md"])
def test_one_changed_byte_is_found(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptSetError, match=f"{name} was changed"):
        read_set(folder)


def test_truncation_is_found_by_size(folder):
    path = folder / "data.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CorruptSetError, match="bytes, its manifest says"):
        verify_set(folder)


@pytest.mark.parametrize("name", ["data.safetensors", "preview.png", "README.md"])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CorruptSetError, match=f"{name} is missing"):
        read_set(folder)


def test_junk_beside_the_files_is_ignored(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / ".DS_Store").write_bytes(b"\0")
    assert len(read_set(folder)) == 20
    assert {path.name for path in stored_files(folder)} == FILES


def test_folder_without_manifest_is_no_set(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(CorruptSetError, match=r"holds no manifest\.json"):
        read_set(folder)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(UnknownSetError, match="not a folder"):
        read_set(tmp_path / "nothing")


def test_manifest_of_a_newer_version_asks_for_an_upgrade(folder):
    edit_manifest(folder, lambda values: values.update(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(CorruptSetError, match="upgrade study"):
        read_set(folder)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00binary", b""])
def test_manifest_that_is_not_json(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CorruptSetError, match="not JSON"):
        read_set(folder)


def test_manifest_cannot_point_outside_the_folder(folder):
    outside = folder.parent / "outside.txt"
    outside.write_text("x")
    record = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    edit_manifest(folder, lambda values: values["files"].update({"../outside.txt": record}))
    with pytest.raises(CorruptSetError, match="leaves the set folder"):
        read_set(folder)


@pytest.mark.parametrize("name", ["data.safetensors", "manifest.json"])
def test_links_are_refused(folder, name):
    target = folder.parent / "target"
    shutil.move(folder / name, target)
    (folder / name).symlink_to(target)
    with pytest.raises(CorruptSetError):
        read_set(folder)


def test_manifest_without_data_is_refused(folder):
    edit_manifest(folder, lambda values: values["files"].pop("data.safetensors"))
    with pytest.raises(CorruptSetError, match="does not list"):
        verify_set(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("labels"), "no tensor 'labels'"),
        (lambda tensors: tensors.update(labels=tensors["labels"].float()), "labels are"),
        (lambda tensors: tensors.update(labels=tensors["labels"] + 1), "labels reach"),
        (lambda tensors: tensors.update(images=tensors["images"][:, :, :4].contiguous()), "image_shape"),
        (lambda tensors: tensors.update(logits=torch.zeros(20, 10)), "soft_labels"),
        (lambda tensors: tensors.update(logits=torch.zeros(3, 10)), "logits have shape"),
    ],
)
def test_tensors_that_contradict_the_manifest(folder, change, message):
    rewrite_data(folder, change)
    with pytest.raises(CorruptSetError, match=message):
        read_set(folder)


def test_data_that_is_no_safetensors_file(folder):
    path = folder / "data.safetensors"
    path.write_bytes(b"not tensors")
    record = {"sha256": hashlib.sha256(b"not tensors").hexdigest(), "size": 11}
    edit_manifest(folder, lambda values: values["files"].update({path.name: record}))
    with pytest.raises(CorruptSetError, match=r"data\.safetensors"):
        read_set(folder)


def test_preprocessing_that_does_not_fit(folder):
    edit_manifest(folder, lambda values: values["preprocessing"].update(mean=[0.1, 0.2]))
    with pytest.raises(CorruptSetError, match="needs as many means"):
        read_set(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_written(tmp_path, value):
    images = small_set().images.clone()
    images[0, 0, 0, 0] = value
    with pytest.raises(ShapeError, match="must be finite"):
        write_set(tmp_path / "set", small_set(images=images), MANIFEST, PLAIN)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path):
    mine = tmp_path / "set" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_set(tmp_path / "set", small_set(), MANIFEST, PLAIN)
    assert [path.name for path in mine.parent.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write the folder"):
        write_set(tmp_path / "file" / "set", small_set(), MANIFEST, PLAIN)


def test_a_failure_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(ShapeError, match="cannot draw"):
        # Two channels cannot be drawn, which is found after the tensors were written.
        write_set(tmp_path / "set", small_set(images=torch.zeros(2, 2, 4, 4)), MANIFEST,
                  Preprocessing("none", (2, 4, 4)))  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_loaded_tensors_do_not_depend_on_the_file(folder):
    stored = read_set(folder)
    before = stored.images.clone()
    path = folder / "data.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.write(b"\0" * size)
    assert torch.equal(stored.images, before)


def test_a_set_is_shown_in_a_line(tmp_path, set_factory):
    shown = repr(read_set(set_factory(tmp_path / "set")))
    assert shown.startswith("StoredSet(digits-dm-ipc1: ")
    assert "classes, " in shown
    assert len(shown) < 120
