"""A real search store that is moved: refused by every command, mended, and used again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import study
from study.cli.app import app


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def listing(folder):
    # The log of a database is folded in whenever its last reader goes; only what is written counts.
    kept = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("optuna.db"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in kept}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    place = tmp_path_factory.mktemp("made") / "project"
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(place)
        study.tune("dm", "digits", budget="smoke", name="mine", trials=1)
    return place


@pytest.fixture
def moved(searched, tmp_path, monkeypatch):
    """A copy beside the original, so that writing into the old place would be seen."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(searched, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "words",
    [
        ("tune", "--resume", "mine", "--trials", "2"),
        ("tune", "--method", "dm", "--budget", "smoke"),
        ("distill", "--method", "random", "--budget", "smoke"),
        ("sets", "download", "digits-dm-ipc1", "-o", "out"),
        ("sets", "list"),
        ("evaluate", "digits-dm-ipc1", "--seeds", "1", "--pool", "none"),
        ("compare",),
        ("ui", "--no-wait"),
    ],
)
def test_a_moved_store_is_refused_in_one_line_and_nothing_is_written(words, searched, moved):
    before = listing(searched), listing(moved / "mlruns" / "artifacts")
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    for word in (str(searched / "mlruns"), str(moved / "mlruns"), "study repair"):
        assert word in line
    assert (listing(searched), listing(moved / "mlruns" / "artifacts")) == before


def test_repair_then_resume_and_download_in_the_new_place(searched, moved):
    before = listing(searched)
    result = invoke("repair", "--json")
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert done["moved_from"] == str(searched / "mlruns")
    assert done["changed"]["runs"] == 2
    assert [one["whole"] for one in done["sets"]] == [True]
    assert json.loads(invoke("repair", "--json").stdout)["moved_from"] is None
    assert invoke("sets", "download", "digits-dm-ipc1/1", "-o", "out").exit_code == 0
    # A process of its own: MLflow keeps the place of a run that this one has written to.
    command = [sys.executable, "-c", "from study.cli.app import main; main()", "tune", "--resume", "mine"]
    again = subprocess.run([*command, "--trials", "2", "--json"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["trials_finished"] == 2
    assert listing(searched) == before


def test_repair_names_a_set_that_is_broken(moved):
    (path,) = moved.glob("mlruns/artifacts/digits-ipc1/models/*/artifacts/data.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    result = invoke("repair")
    assert result.exit_code == 2
    assert "BROKEN" in result.stdout
    assert "0 of 1 sets are whole" in result.stdout


def test_reading_commands_make_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "No runs yet" in invoke("compare").stdout
    assert "study tune" in invoke("sets", "list").stdout
    assert invoke("compare", "mine").exit_code == 2
    assert invoke("repair").exit_code == 2
    assert list(tmp_path.iterdir()) == []
