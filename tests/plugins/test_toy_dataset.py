"""A dataset of another distribution, found through its entry point by a process that has it installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).with_name("toy")
CONTRACT = """
from study.testing import DatasetContract

class TestToy(DatasetContract):
    dataset = "toy"
"""


@pytest.fixture
def run(tmp_path):
    """``run(*words)`` starts Python with the toy distribution on its path; gives what it printed."""
    path = os.pathsep.join([str(TOY), *filter(None, sys.path)])

    def start(*words):
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return start


def test_commands_know_it(run):
    study = ("-c", "from study.cli.app import main; main()", "data")
    listed = json.loads(run(*study, "list", "--json").stdout)["datasets"]
    assert "toy" in [row["name"] for row in listed]
    report = json.loads(run(*study, "check", "toy", "--json").stdout)
    assert report["totals"] == {"train": 129, "validation": 15, "test": 36}
    assert "toy" in run(*study, "check", "tiy").stderr


def test_it_passes_the_contract(run, tmp_path):
    (tmp_path / "test_toy.py").write_text(CONTRACT)
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy.py")
    assert done.returncode == 0, done.stdout
    assert "9 passed, 1 skipped" in done.stdout
