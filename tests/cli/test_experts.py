from __future__ import annotations

import json
import os
import re
import time
from typing import ClassVar

import pytest
import torch
from typer.testing import CliRunner

from study.cli import common
from study.cli.app import app
from study.core.spaces import Range
from study.methods.base import METHODS, MethodConfig
from study.methods.experts.config import ExpertConfig
from study.methods.experts.store import ExpertStore
from study.methods.trajectories.config import TrajectoryConfig
from study.methods.trajectories.expert_matching import ExpertMatching

TRAINING = {"lr": 0.01, "optimizer": "gsam", "batch_size": 256}
KEY = {
    "precision": "bfloat16", "experts": TRAINING, "order": {"order": "all"},
    "model": {"name": "convnet", "depth": 3, "width": 64},
}  # fmt: skip
META = {
    "image_shape": [1, 28, 28], "num_images": 54000, "class_names": list("0123456789"), "num_epochs": 2, "key": KEY,
}  # fmt: skip

USING = ", ".join(sorted(name for name, one in METHODS.items() if "experts" in one.preparation_settings))


class ToyExperts(ExpertConfig):
    num_experts: int = 2
    num_epochs: int = 2
    batch_size: int = 128


class ToyConfig(TrajectoryConfig):
    num_expert_epochs: int = 1
    max_start_epoch: int = 2
    experts: ToyExperts = ToyExperts()


class Toy(ExpertMatching[ToyConfig]):
    """Matches nothing; has experts as trajectory matching has them."""

    name: ClassVar[str] = "toy"
    Config: ClassVar[type[MethodConfig]] = ToyConfig

    def start(self, task, experts, generator):
        raise NotImplementedError

    def matching(self):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The folder of experts in a cache of its own for every test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STUDY_CACHE_GB", raising=False)
    return tmp_path / "cache" / "experts"


@pytest.fixture(autouse=True)
def wide_console():
    """A console that another test made has the width of that time."""
    common.out.cache_clear()
    yield
    common.out.cache_clear()


@pytest.fixture
def toy(monkeypatch):
    assert "dm" in METHODS
    monkeypatch.setitem(METHODS._items, "toy", (Toy, __name__))


@pytest.fixture
def fill(root):
    """``fill("key", days_ago=2)`` makes an entry of about 12 kB that nobody holds."""

    def make(key, days_ago=0.0):
        entry = ExpertStore().entry(key)
        entry.write(0, torch.zeros(3, 1000), 0.951, 1.0)
        entry.describe(META)
        then = time.time() - 24 * 3600 * days_ago
        os.utime(root / key / "meta.json", (then, then))

    return make


def invoke(*words):
    return CliRunner().invoke(app, ["experts", *map(str, words)], env={"COLUMNS": "200"})


def build_words(*words):
    return ["build", "-m", "toy", "--set", "model.width=8", "--set", "model.depth=2",
            "--set", "compute.num_threads=1", *words]  # fmt: skip


def test_an_empty_cache_says_what_fills_it(root):
    result = invoke("list")
    assert result.exit_code == 0
    assert "matches trajectories" in result.stdout
    listed = json.loads(invoke("list", "--json").stdout)
    assert (listed["entries"], listed["bytes"], listed["limit_bytes"]) == ([], 0, 20e9)
    assert not root.exists()


def test_list_shows_what_was_trained_and_what_it_takes(fill):
    fill("a" * 32)
    result = invoke("list")
    assert result.exit_code == 0
    for word in ("54,000 x 1x28x28, 10 classes", "convnet depth 3 width 64", "gsam lr 0.01, batch 256, bfloat16",
                 "95.1", " kB", "aaaaaaaaaaaa", "1 entry", "of 20.0 GB"):  # fmt: skip
        assert word in result.stdout, word


def test_list_json_is_one_object_with_the_last_used_first(fill):
    fill("old", days_ago=3)
    fill("new", days_ago=1)
    result = invoke("list", "--json")
    listed = json.loads(result.stdout)
    assert result.stderr == ""
    assert [entry["key"] for entry in listed["entries"]] == ["new", "old"]
    assert listed["entries"][0]["training"] == TRAINING
    assert (listed["entries"][0]["experts"], listed["entries"][0]["in_use"]) == (1, False)
    assert listed["bytes"] == sum(entry["bytes"] for entry in listed["entries"]) > 24_000


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_an_entry_whose_description_is_lost_is_still_listed(fill, root, content):
    fill("bare")
    (root / "bare" / "meta.json").unlink()
    if content is not None:
        (root / "bare" / "meta.json").write_text(content)
    result = invoke("list")
    assert result.exit_code == 0
    assert "bare" in result.stdout


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--all",), []),
        (("--older-than", 10), ["day", "week"]),
        (("--max-gb", 0.00002), ["day"]),
        (("--max-gb", 1, "--older-than", 2), ["day"]),
        ((), ["day", "week", "year"]),
    ],
)
def test_prune_removes_what_was_asked_for(fill, words, kept):
    for key, days in [("year", 365), ("week", 7), ("day", 1)]:
        fill(key, days)
    result = invoke("prune", "--json", *words)
    assert result.exit_code == 0, result.output
    pruned = json.loads(result.stdout)
    assert [entry["key"] for entry in pruned["kept"]["entries"]] == kept
    assert {entry["key"] for entry in pruned["removed"]} == {"day", "week", "year"} - set(kept)
    assert pruned["bytes"] == sum(entry["bytes"] for entry in pruned["removed"])


def test_prune_without_a_wish_keeps_to_the_limit(fill, monkeypatch):
    fill("old", 2)
    fill("new", 1)
    monkeypatch.setenv("STUDY_CACHE_GB", "0.00002")
    result = invoke("prune")
    assert re.search(r"Removed 1 entry \(\d\d\.\d kB\); kept 1 entry \(\d\d\.\d kB\)", result.stdout)
    assert [info.key for info in ExpertStore().entries()] == ["new"]


def test_prune_leaves_experts_in_use_and_says_so(fill):
    fill("held")
    entry = ExpertStore().entry("held")
    assert "1 of them in use" in invoke("prune", "--all").stdout
    assert entry.path(0).exists()


def test_build_trains_once_and_lists_the_result(toy):
    planned = invoke(*build_words("--dry-run", "--json"))
    assert planned.exit_code == 0, planned.output
    assert (json.loads(planned.stdout)["to_build"], json.loads(planned.stdout)["epochs"]) == (2, 2)
    assert "2 to train" in invoke(*build_words("--dry-run")).stdout
    first = json.loads(invoke(*build_words("--json")).stdout)
    assert (first["experts"], first["built"], first["key"]) == (2, 2, json.loads(planned.stdout)["key"])
    again = invoke(*build_words())
    assert "2 experts of 2 epochs, 0 of them trained now" in again.stdout
    assert "all in the cache" in invoke(*build_words("--dry-run")).stdout
    more = json.loads(invoke(*build_words("--json", "--set", "distill.experts.num_experts=3")).stdout)
    assert (more["key"], more["built"]) == (first["key"], 1)
    (entry,) = json.loads(invoke("list", "--json").stdout)["entries"]
    assert (entry["key"], entry["experts"], entry["image_shape"]) == (first["key"], 3, [1, 8, 8])


def test_the_epochs_that_are_kept_are_stated(toy, monkeypatch):
    def search_up_to(epoch):
        monkeypatch.setattr(Toy, "space", {"distill.max_start_epoch": Range(kind="int", low=2, high=epoch)})

    search_up_to(4)
    words = build_words("--set", "distill.experts.num_epochs=7")
    assert "2 experts of 7 epochs (0 to 4 and the last kept)" in invoke(*words, "--dry-run").stdout
    planned = json.loads(invoke(*words, "--dry-run", "--json").stdout)
    built = json.loads(invoke(*words, "--json").stdout)
    assert (built["epochs"], built["kept_epochs"], built["built"]) == (7, 4, 2)
    (entry,) = json.loads(invoke("list", "--json").stdout)["entries"]
    assert (entry["epochs"], entry["kept_epochs"]) == (7, 4)
    assert entry["bytes"] == pytest.approx(planned["bytes"], rel=0.1)
    listed = invoke("list").stdout
    assert "2 x 7 epochs" in listed
    assert "kept: 0 to 4, 7" in listed
    search_up_to(5)
    assert "2 to train" in invoke(*words, "--dry-run").stdout
    more = json.loads(invoke(*words, "--json").stdout)
    assert (more["key"], more["kept_epochs"], more["built"]) == (built["key"], 5, 2)
    (entry,) = json.loads(invoke("list", "--json").stdout)["entries"]
    assert entry["kept_epochs"] == 5


def test_an_interrupted_build_says_how_to_go_on(toy, monkeypatch):
    def interrupt(self, task, generators):
        raise KeyboardInterrupt

    monkeypatch.setattr(Toy, "prepare", interrupt)
    result = invoke(*build_words())
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build", "-m", "dm"), f"method 'dm' uses no experts. Those that do: {USING}"),
        (("build", "-m", "tou"), "Did you mean 'toy'"),
        (build_words("--set", "distill.experts.lr=-1"), "distill.experts.lr = -1"),
        (build_words("--set", "distill.experts.rate=1"), "distill.experts.rate"),
        (build_words("--set", "model.norm=batch"), "running statistics"),
        (build_words("--set", "distill.experts.lr=1e30"), "diverged in epoch 1"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_exit_code_2(toy, words, message):
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_a_limit_that_is_no_size_is_one_line(monkeypatch):
    monkeypatch.setenv("STUDY_CACHE_GB", "much")
    result = invoke("list")
    assert result.exit_code == 2
    assert result.stderr == "Error: STUDY_CACHE_GB = 'much': expected a number of gigabytes, at least 0\n"
