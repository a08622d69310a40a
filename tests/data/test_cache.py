from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from study.core.errors import DataError
from study.data.cache import cached, find_cached


def test_the_second_call_reads_what_the_first_built(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    calls = []

    def build() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"pixels": torch.arange(6, dtype=torch.uint8)}

    first, path = cached("thing", {"a": 1}, build)
    second, again = cached("thing", {"a": 1}, build)
    assert len(calls) == 1
    assert path == again
    assert torch.equal(first["pixels"], second["pixels"])
    assert cached("thing", {"a": 2}, build)[1] != path


def test_two_callers_at_once_share_one_build(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    calls = []

    def build() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"pixels": torch.ones(3)}

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cached("thing", {}, build), range(4)))
    assert len(calls) == 1
    assert all(torch.equal(tensors["pixels"], torch.ones(3)) for tensors, _ in results)


def test_a_damaged_file_is_built_again(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    _, path = cached("thing", {}, lambda: {"pixels": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:50])
    tensors, _ = cached("thing", {}, lambda: {"pixels": torch.zeros(100)})
    assert torch.equal(tensors["pixels"], torch.zeros(100))
    assert "damaged" in caplog.text
    assert torch.equal(cached("thing", {}, dict)[0]["pixels"], torch.zeros(100))


def test_looking_builds_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    assert find_cached("thing", {}) is None
    assert not list(tmp_path.iterdir())
    cached("thing", {}, lambda: {"pixels": torch.ones(3)})
    assert torch.equal(find_cached("thing", {})["pixels"], torch.ones(3))
    assert find_cached("thing", {"a": 1}) is None


def test_what_fails_a_check_is_built_again(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    cached("thing", {}, lambda: {"pixels": torch.ones(3)})

    def is_whole(tensors):
        return bool((tensors["pixels"] == 2).all())

    assert find_cached("thing", {}, is_whole) is None
    assert "damaged" in caplog.text
    tensors, _ = cached("thing", {}, lambda: {"pixels": torch.full((3,), 2.0)}, is_whole)
    assert torch.equal(tensors["pixels"], torch.full((3,), 2.0))
    assert find_cached("thing", {}, is_whole) is not None


def test_a_failed_build_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))

    def build() -> dict[str, torch.Tensor]:
        raise DataError("broken picture")

    with pytest.raises(DataError, match="broken picture"):
        cached("thing", {}, build)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] in ([], [".lock"])


def test_a_cache_that_cannot_be_written_names_the_way_out(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set STUDY_CACHE to another folder"):
        cached("thing", {}, lambda: {"pixels": torch.ones(1)})
    assert os.listdir(tmp_path) == ["file"]
