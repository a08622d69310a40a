from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from study.core.errors import ConfigError, DataError
from study.core.reporting import listening
from study.core.seeding import Generators
from study.methods.experts.config import ExpertConfig, WholeSet
from study.methods.experts.experts import estimate_experts, obtain_experts
from study.methods.experts.file import BrokenExpertError, ExpertFile, Kept, write_expert
from study.methods.experts.room import find_shortage
from study.methods.experts.store import ExpertStore, holding, size_limit

SHAPE = (3, 1000)
BUILD = """
    from study.testing.tasks import toy_task
    from study.core.seeding import Generators
    from study.methods.experts.config import ExpertConfig, WholeSet
    from study.methods.experts.experts import obtain_experts
    config = ExpertConfig(num_experts={num_experts}, num_epochs={num_epochs}, lr=0.05, batch_size=16)
    experts = obtain_experts(toy_task(), config, WholeSet(), Generators(0), num_workers=1)
    print(experts.num_built)
"""


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The folder of experts in a cache of its own for every test."""
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STUDY_CACHE_GB", raising=False)
    return tmp_path / "cache" / "experts"


@pytest.fixture
def snapshots():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def fill(root, snapshots):
    """``fill("a", hours_ago=3, num_experts=2)`` makes an entry that nobody holds."""

    def make(key, hours_ago=0.0, num_experts=1):
        entry = ExpertStore().entry(key)
        for expert in range(num_experts):
            entry.write(expert, snapshots, 0.9, 1.0)
        entry.describe({"num_epochs": 2})
        then = time.time() - 3600 * hours_ago
        os.utime(root / key / "meta.json", (then, then))

    return make


def start_build(num_experts, num_epochs):
    script = textwrap.dedent(BUILD.format(num_experts=num_experts, num_epochs=num_epochs))
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def settings(num_experts=2, num_epochs=3, lr=0.05):
    return ExpertConfig(num_experts=num_experts, num_epochs=num_epochs, lr=lr, batch_size=16)


def obtain(task, **changes):
    return obtain_experts(task, settings(**changes), WholeSet(), Generators(0), num_workers=1)


def keys():
    return [info.key for info in ExpertStore().entries()]


def test_reading_one_snapshot_gives_what_was_written(tmp_path, snapshots):
    path = tmp_path / "expert.safetensors"
    write_expert(path, snapshots, 0.875, 12.5)
    stored = ExpertFile(path, Kept(1000, 2, 2))
    for epoch in range(len(snapshots)):
        assert torch.equal(stored.snapshot(epoch), snapshots[epoch])
    assert torch.equal(load_file(path)["snapshots"], snapshots)
    assert (stored.kept, stored.train_accuracy, stored.seconds) == (Kept(1000, 2, 2), 0.875, 12.5)


def test_a_file_of_fewer_snapshots_knows_which_they_are(tmp_path, snapshots):
    path = tmp_path / "expert.safetensors"
    write_expert(path, snapshots, 0.875, 12.5, num_epochs=9)
    stored = ExpertFile(path, Kept(1000, 9, 6))
    assert stored.kept == Kept(1000, 9, 1)
    assert str(stored.kept) == "epochs 0 to 1 and 9"
    for epoch, row in ((0, 0), (1, 1), (9, 2)):
        assert torch.equal(stored.snapshot(epoch), snapshots[row])
    assert [stored.kept.row(epoch) for epoch in (-1, 2, 8, 10)] == [None] * 4
    assert stored.kept.serves(Kept(1000, 9, 0))
    assert not stored.kept.serves(Kept(1000, 9, 2))
    with pytest.raises(BrokenExpertError, match="after 9 epochs"):
        ExpertFile(path, Kept(1000, 10, 1))


@pytest.mark.parametrize(
    ("last", "rows", "words"),
    [
        (0, 2, "epochs 0 to 0 and 5"),
        (3, 5, "epochs 0 to 3 and 5"),
        (4, 6, "epochs 0 to 5"),
        (5, 6, "epochs 0 to 5"),
    ],
)
def test_the_final_snapshot_is_kept_beside_the_first_ones(last, rows, words):
    kept = Kept(10, 5, last)
    assert (kept.num_rows, kept.num_bytes, str(kept)) == (rows, 40 * rows, words)
    held = [epoch for epoch in range(6) if kept.row(epoch) is not None]
    assert [kept.row(epoch) for epoch in held] == list(range(rows))
    assert held == [*range(min(last, 4) + 1), 5]


def test_a_file_from_before_keeps_every_epoch(tmp_path, snapshots):
    path = tmp_path / "expert.safetensors"
    write_expert(path, snapshots, 0.875, 12.5)
    with safe_open(path, framework="pt") as opened:
        old = {name: value for name, value in opened.metadata().items() if name != "num_epochs"}
    save_file({"snapshots": snapshots}, path, old)
    assert ExpertFile(path).kept == Kept(1000, 2, 2)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of mapped pages")
def test_reading_one_snapshot_touches_little_of_the_file(tmp_path):
    path, megabytes = tmp_path / "expert.safetensors", 64
    write_expert(path, torch.ones(megabytes, 2**18), 1.0, 1.0)
    stored = ExpertFile(path)
    assert stored.snapshot(megabytes // 2).sum() == 2**18
    resident, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            resident += int(line.split()[1])
    assert resident < megabytes * 1024 / 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(500)),
        lambda path: write_expert(path, torch.zeros(2, 5), 0.5, 1.0),
    ],
    ids=["short", "empty", "noise", "another shape"],
)
def test_a_damaged_file_is_trained_again_with_a_warning(toy_task, root, caplog, damage):
    before = obtain(toy_task())
    kept = before.final(1)
    del before
    (path,) = root.glob("*/expert-00001.safetensors")
    damage(path)
    with caplog.at_level(logging.WARNING, logger="study.methods.experts.entry"):
        again = obtain(toy_task())
    (record,) = caplog.records
    assert "will be trained again" in record.message
    assert "expert-00001" in record.message
    assert again.num_built == 1
    assert torch.equal(again.final(1), kept)


def test_a_changed_byte_is_found_when_it_is_read(toy_task, root):
    experts = obtain(toy_task())
    kept = experts.final(0)
    del experts
    (path,) = root.glob("*/expert-00000.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    experts = obtain(toy_task())
    assert experts.num_built == 0
    experts.snapshot(0, 0)
    with pytest.raises(BrokenExpertError, match="the same command trains it again"):
        experts.final(0)
    again = obtain(toy_task())
    assert again.num_built == 1
    assert torch.equal(again.final(0), kept)


def test_a_killed_build_leaves_nothing_broken_and_the_next_one_goes_on(toy_task, root, tmp_path, monkeypatch):
    process = start_build(num_experts=400, num_epochs=3)
    try:
        deadline = time.monotonic() + 120
        while len(list(root.glob("*/expert-*.safetensors"))) < 3:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    (folder,) = [path for path in root.iterdir() if path.name != ".locks"]
    finished = sorted(folder.glob("expert-*.safetensors"))
    assert 3 <= len(finished) < 400
    for path in finished:
        whole = ExpertFile(path)
        assert [whole.snapshot(epoch).isfinite().all() for epoch in range(4)]
    leftover = folder / f".{finished[-1].name.replace(str(len(finished) - 1), str(len(finished)))}.killed"
    leftover.write_bytes(b"half")  # what a kill in the middle of a write leaves
    experts = obtain(toy_task(), num_experts=len(finished) + 2)
    assert experts.num_built == 2
    assert not leftover.exists()
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "undisturbed"))
    undisturbed = obtain(toy_task(), num_experts=len(finished) + 2)
    for expert in range(len(finished) + 2):
        assert torch.equal(experts.final(expert), undisturbed.final(expert))


def test_processes_that_need_the_same_experts_share_the_work(toy_task):
    processes = [start_build(num_experts=12, num_epochs=10) for _ in range(2)]
    built = []
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        built.append(int(output))
    assert sum(built) == 12
    assert obtain(toy_task(), num_experts=12, num_epochs=10).num_built == 0


def test_the_least_recently_used_entries_go_first(root, fill):
    for key, hours in [("old", 3), ("older", 30), ("new", 1)]:
        fill(key, hours)
    assert keys() == ["new", "old", "older"]
    size = ExpertStore().entries()[0].size
    removed = ExpertStore().prune(max_bytes=2 * size + size // 2)
    assert [info.key for info in removed] == ["older"]
    assert keys() == ["new", "old"]
    assert ExpertStore().prune(max_bytes=2 * size + size // 2) == []
    assert not list(root.glob(".removed*"))


def test_an_entry_in_use_stays_and_is_shown_as_such(fill):
    fill("held", hours_ago=100)
    fill("free", hours_ago=1)
    held = ExpertStore().entry("held")
    assert {info.key: info.in_use for info in ExpertStore().entries()} == {"held": True, "free": False}
    assert [info.key for info in ExpertStore().prune(max_bytes=0)] == ["free"]
    assert ExpertStore().prune(everything=True) == []
    del held
    assert [info.key for info in ExpertStore().prune(everything=True)] == ["held"]
    assert keys() == []


def test_using_experts_makes_them_recent(toy_task, root, fill):
    key = obtain(toy_task()).key
    long_ago = time.time() - 1e6
    os.utime(root / key / "meta.json", (long_ago, long_ago))
    fill("other", hours_ago=1)
    assert keys() == ["other", key]
    assert obtain(toy_task()).num_built == 0
    assert keys() == [key, "other"]


def test_a_build_evicts_what_no_longer_fits_but_never_itself(toy_task, fill, monkeypatch):
    size = estimate_experts(toy_task(), settings(), WholeSet().key(), Generators(0), 1.0).num_bytes
    fill("old", hours_ago=2, num_experts=5)
    fill("recent", hours_ago=1)
    recent = next(info.size for info in ExpertStore().entries() if info.key == "recent")
    monkeypatch.setenv(
        "STUDY_CACHE_GB", str((size + recent + 8000) / 1e9)
    )  # with room for their descriptions
    experts = obtain(toy_task())
    assert keys() == [experts.key, "recent"]
    monkeypatch.setenv("STUDY_CACHE_GB", "0")
    other = obtain(toy_task(), lr=0.07)
    assert keys() == [other.key, experts.key]
    assert other.final(1).isfinite().all()


def test_experts_of_a_search_stay_whatever_the_limit(toy_task, fill, monkeypatch):
    fill("other", hours_ago=1)
    monkeypatch.setenv("STUDY_CACHE_GB", "0")
    schedules = [0.01, 0.02, 0.03] * 3
    with holding():
        built = [obtain(toy_task(), lr=lr).num_built for lr in schedules]
        assert built == [2, 2, 2] + [0] * 6
        assert len(keys()) == 3
        assert all(info.in_use for info in ExpertStore().entries())
    assert keys() == []
    assert [obtain(toy_task(), lr=lr).num_built for lr in schedules] == [2] * 9


def test_a_search_within_another_lets_go_of_its_own_only(fill, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE_GB", "0")
    for key in ("inner", "outer"):
        fill(key)
    with holding():
        ExpertStore().entry("outer")
        with holding():
            ExpertStore().entry("inner")
        assert sorted(keys()) == ["inner", "outer"], "the outer one heard of both"
        with pytest.raises(KeyError), holding():
            raise KeyError
    assert keys() == []


def test_a_search_without_experts_leaves_the_cache_alone(fill, monkeypatch):
    fill("other")
    monkeypatch.setenv("STUDY_CACHE_GB", "0")
    with holding():
        pass
    assert keys() == ["other"]


def test_a_search_that_is_killed_holds_nothing(toy_task, root):
    script = f"""
        import time
        from study.methods.experts.store import ExpertStore, holding
        with holding():
            ExpertStore().entry("{"a" * 8}")
            print("held", flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        assert ExpertStore().prune(everything=True) == []
        assert keys() == ["a" * 8]
    finally:
        process.kill()
        process.communicate()
    assert [info.key for info in ExpertStore().prune(everything=True)] == ["a" * 8]


def test_room_is_made_before_a_build_so_that_the_limit_is_its_peak(toy_task, fill, monkeypatch):
    size = estimate_experts(toy_task(), settings(), WholeSet().key(), Generators(0), 1.0).num_bytes
    fill("old", hours_ago=2, num_experts=5)
    monkeypatch.setenv("STUDY_CACHE_GB", str((size + 8000) / 1e9))
    seen = []
    with listening(lambda *_: seen.append(keys())):
        obtain_experts(toy_task(), settings(), WholeSet(), Generators(0), num_workers=1)
    assert "old" not in seen[0]


def test_where_the_disk_is_too_small_a_search_gives_up_what_it_holds(toy_task, monkeypatch, caplog):
    size = estimate_experts(toy_task(), settings(), WholeSet().key(), Generators(0), 1.0).num_bytes
    disk = size * 3 // 2

    def free(self):
        return disk - sum(info.size for info in self.entries())

    monkeypatch.setattr(ExpertStore, "free", free)
    with holding():
        assert [obtain(toy_task(), lr=lr).num_built for lr in (0.01, 0.02, 0.01)] == [2, 2, 2]
        assert len(keys()) == 1
    assert "is too small for all experts of this search" in caplog.text


def test_a_shortage_is_known_beforehand_and_names_the_remedy(monkeypatch, root):
    monkeypatch.setattr(ExpertStore, "free", lambda self: 10**10)
    monkeypatch.setenv("STUDY_CACHE_GB", "2.4")
    assert find_shortage(3, 0) is None
    assert find_shortage(3, 8 * 10**8) is None
    short = find_shortage(3, 9 * 10**8)
    assert "3 sets of 0.9 GB, 2.7 GB in all, more than the limit of 2.4 GB" in short
    assert "STUDY_CACHE_GB=3 keeps them" in short
    monkeypatch.setenv("STUDY_CACHE_GB", "3")
    assert find_shortage(3, 9 * 10**8) is None
    small = find_shortage(3, 4 * 10**9)
    assert f"3 sets of 4.0 GB, 12.0 GB in all, but {root} can have 10.0 GB" in small
    assert "set STUDY_CACHE to a folder on a larger disk" in small
    with pytest.raises(DataError, match=r"need 10\.1 GB, but .* can have 10\.0 GB; set STUDY_CACHE"):
        find_shortage(1, 101 * 10**8)


def test_what_the_cache_takes_already_is_room(fill, monkeypatch):
    fill("some", num_experts=3)
    taken = ExpertStore().entries()[0].size
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert ExpertStore().capacity() == taken + 1000


def test_experts_stay_readable_if_their_files_are_taken_away(toy_task, root):
    experts = obtain(toy_task())
    kept = experts.final(0)
    for path in root.glob("*/expert-*"):
        path.unlink()
    assert torch.equal(experts.final(0), kept)


def test_entries_can_be_removed_by_age(fill):
    fill("month", hours_ago=24 * 30)
    fill("week", hours_ago=24 * 7)
    assert [info.key for info in ExpertStore().prune(unused_seconds=24 * 3600 * 10)] == ["month"]
    assert keys() == ["week"]


def test_a_removal_that_was_killed_is_finished_by_the_next(root, fill):
    fill("kept")
    grave = root / ".removed-abc" / "gone"
    grave.mkdir(parents=True)
    (grave / "expert-00000.safetensors").write_bytes(b"x")
    assert ExpertStore().prune(max_bytes=10**9) == []
    assert not grave.exists()
    assert keys() == ["kept"]


def test_an_entry_tells_what_it_holds(toy_task):
    experts = obtain(toy_task())
    (info,) = ExpertStore().entries()
    assert (info.key, info.num_experts, info.in_use) == (experts.key, 2, True)
    assert info.meta["image_shape"] == [1, 8, 8]
    assert info.meta["class_names"] == ["bar 0", "bar 1", "bar 2"]
    assert info.meta["key"]["model"]["width"] == 8
    described = [one["train_accuracy"] for one in info.meta["experts"].values()]
    assert described == experts.train_accuracies
    assert info.size > 2 * 4 * 4 * experts.num_parameters


def test_an_empty_cache_has_no_entries_and_nothing_to_prune(root):
    assert ExpertStore().entries() == []
    assert ExpertStore().prune(everything=True) == []
    assert not root.exists()


def test_a_full_disk_is_one_clear_error(snapshots, monkeypatch):
    entry = ExpertStore().entry("full")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("study.methods.experts.entry.write_expert", fail)
    with pytest.raises(DataError, match="No space left on device; set STUDY_CACHE"):
        entry.write(0, snapshots, 0.5, 1.0)
    assert [path.name for path in entry.folder.iterdir()] == []


@pytest.mark.parametrize("text", ["much", "-1", "inf", "nan"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, text):
    monkeypatch.setenv("STUDY_CACHE_GB", text)
    with pytest.raises(ConfigError, match="STUDY_CACHE_GB"):
        size_limit()


def test_the_limit_is_read_in_gigabytes(monkeypatch):
    assert size_limit() == 20e9
    monkeypatch.setenv("STUDY_CACHE_GB", "0.5")
    assert size_limit() == 5e8
