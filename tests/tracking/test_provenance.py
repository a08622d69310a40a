from __future__ import annotations

import platform
import subprocess

import pytest
import torch

import study
from study.tracking.provenance import git_commit, provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    finished = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return folder


def test_commit_of_a_clean_package(package):
    assert git_commit(package) == git(package, "rev-parse", "HEAD")


def test_a_changed_file_is_marked(package):
    (package / "__init__.py").write_text("x = 1\n")
    assert git_commit(package) == git(package, "rev-parse", "HEAD") + "-dirty"


def test_a_new_file_in_the_package_is_marked(package):
    (package / "more.py").write_text("")
    assert git_commit(package).endswith("-dirty")


def test_changes_outside_the_package_do_not_count(package):
    (package.parent / "notes.txt").write_text("")
    assert not git_commit(package).endswith("-dirty")


def test_a_package_that_the_repository_does_not_track_has_no_commit(package):
    inner = package.parent / "venv" / "pack"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("")
    assert git_commit(inner) == ""


def test_no_repository_or_no_git_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    assert git_commit(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) == ""


def test_provenance_names_the_versions():
    facts = provenance()
    assert facts["study"] == study.__version__
    assert facts["python"] == platform.python_version()
    assert facts["torch"] == torch.__version__
    facts["study"] = "changed"
    assert provenance()["study"] == study.__version__
