"""Values that a shell offers, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.api.completing import complete
from study.data.datasets import DATASETS
from study.methods.base import METHODS
from study.tracking.open import open_tracker


def offered(words: str, folder: Path, **environment: str) -> list[str]:
    """What bash would offer behind these words."""
    asked = {
        "_STUDY_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    known = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    # The script is run by -c, whose program has no name to find the variable by.
    code = "import sys; sys.argv[0] = 'study'; from study.cli.app import app; app(prog_name='study')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**known, **asked, **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def store(store_root, set_factory, tmp_path):
    tracker = open_tracker(None, store_root)
    tags = {"study.kind": "search", "study.search": "digits-dm-ipc1-1"}
    run = tracker.start_run("digits-ipc1", "digits-dm-ipc1-1", tags=tags)
    folder = set_factory(tmp_path / "a-set")
    for alias in ("best", None):
        tracker.register_set(folder, "digits-dm-ipc1", run_id=run.run_id, tags={}, card="", alias=alias)
    run.finish()
    return tmp_path


def test_sets_and_searches_of_the_store(store):
    sets = ["digits-dm-ipc1@best", "digits-dm-ipc1/2", "digits-dm-ipc1/1"]
    assert offered("study sets show dig", store) == sets
    assert offered("study tune --resume ", store) == ["digits-dm-ipc1-1"]
    other = f"study sets show --tracking-uri {store / 'none'} dig"
    assert offered(other, store) == []
    assert not (store / "none").exists()


def test_methods_and_datasets_plug_ins_included_and_quick_the_second_time(tmp_path):
    assert offered("study tune --method dat", tmp_path) == ["datadam", "datm"]
    assert offered("study distill --dataset dig", tmp_path) == ["digits"]
    assert offered("study recipe show pa", tmp_path) == ["pad"]
    assert (complete("methods", ""), complete("datasets", "")) == (list(METHODS), list(DATASETS))


def test_nothing_that_is_broken_makes_a_completion_fail(tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text("no database")
    assert offered("study sets show dig", tmp_path) == []
    (tmp_path / "cache").write_text("a file, not a folder")
    found = offered("study tune --method dat", tmp_path, STUDY_CACHE=str(tmp_path / "cache"))
    assert found in ([], ["datadam", "datm"])


def test_names_that_are_kept_load_no_torch(tmp_path):
    complete("methods", "")
    code = (
        "import sys; from study.api.completing import complete; names = complete('methods', 'pa')\n"
        "print(names, {'torch', 'mlflow', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['pad'] set()"
