"""Files that appear whole or not at all."""

import pytest

from study.core.files import cache_folder, replace_file, replace_folder, sha256_file


def write_and_fail(context, path):
    with context(path) as temporary:
        (temporary / "x" if temporary.is_dir() else temporary).write_text("half")
        raise RuntimeError("stopped")


def test_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with replace_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"


def test_nothing_remains_of_a_failed_write(tmp_path):
    kept = tmp_path / "a.txt"
    kept.write_text("old")
    with pytest.raises(RuntimeError):
        write_and_fail(replace_file, kept)
    with pytest.raises(RuntimeError):
        write_and_fail(replace_folder, tmp_path / "folder")
    assert kept.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt"]


def test_folder_with_content_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(FileExistsError, match="not empty"):
        write_and_fail(replace_folder, tmp_path / "mine")
    assert (tmp_path / "mine" / "file").read_text() == "x"


def test_hash_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a").startswith("ba7816bf")


def test_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
