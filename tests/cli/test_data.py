from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from study.cli.data import app
from study.data.datasets import DATASETS

runner = CliRunner()


def run(*arguments: object):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_list_as_json_names_every_dataset(tmp_path):
    result = run("list", "--data-root", tmp_path, "--json")
    assert result.exit_code == 0
    rows = {row["name"]: row for row in json.loads(result.stdout)["datasets"]}
    assert {"cifar10", "digits", "folder", "mhist", "pneumoniamnist"} < set(rows)
    assert rows["digits"]["present"] is True
    assert rows["mhist"]["present"] is False
    assert "https://bmirds.github.io/MHIST/" in rows["mhist"]["how_to_get"]


def test_list_fits_a_screen(tmp_path, build_medmnist, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    build_medmnist(tmp_path, "pneumoniamnist", 2, 1)
    result = run("list", "--data-root", tmp_path)
    assert result.exit_code == 0
    table, ways = result.stdout.split("To get one that is not here:")
    cells = [line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")]
    rows = {name.strip(): here.strip() for name, _, here in cells}
    assert len(cells) == len(rows), "a row takes more than a line"
    assert list(rows) == list(DATASETS)
    assert {name for name, here in rows.items() if here == "yes"} == {"digits", "pneumoniamnist"}
    assert "cifar10, fashion-mnist, mnist: study data prepare NAME\n" in ways
    assert "mhist: request it at https://bmirds.github.io/MHIST/" in ways
    assert ways.count("zenodo.org") == 1
    assert "pneumoniamnist" not in ways


def test_check_reports_counts_shape_and_fingerprint():
    report = json.loads(run("check", "digits", "--json").stdout)
    assert report["image_shape"] == [1, 8, 8]
    assert report["totals"] == {"train": 1293, "validation": 144, "test": 360}
    assert sum(report["counts"]["test"].values()) == 360
    assert len(report["fingerprint"]) == 64
    assert report["mean"] == pytest.approx([0.305], abs=0.01)
    assert report["balanced"] is True


def test_check_of_mhist_prepares_and_shows_what_was_cached(mhist_root):
    prepared = run("prepare", "mhist", "--data-root", mhist_root, "--resolution", 24)
    assert prepared.exit_code == 0
    assert "90 train and 30 test images decoded" in prepared.stdout
    result = run("check", "mhist", "--data-root", mhist_root, "--resolution", 24)
    assert result.exit_code == 0
    for text in ("HP", "SSA", "24 x 24, colour", "unbalanced", ".safetensors"):
        assert text in result.stdout


def test_check_of_pneumonia_counts_the_official_splits(pneumonia_root):
    result = run("check", "pneumoniamnist", "--data-root", pneumonia_root)
    assert result.exit_code == 0
    for text in ("normal", "1,214", "524", "624", "28 x 28, gray", "unbalanced", "Yang et al. 2023"):
        assert text in result.stdout


def test_prepare_as_json_prints_one_object():
    assert json.loads(run("prepare", "digits", "--json").stdout)["dataset"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "digit"], "unknown dataset 'digit'. Did you mean 'digits'?"),
        (["check", "mhist"], "https://bmirds.github.io/MHIST/"),
        (["check", "mnist"], "study data prepare mnist --data-root"),
        (["check", "pneumoniamnist"], "get pneumoniamnist.npz from https://zenodo.org/"),
        (["check", "chestmnist"], "'chestmnist' is not offered: each of its X-rays has 14 labels"),
        (["prepare", "folder"], "has no folder train"),
    ],
)
def test_bad_requests_get_one_line_and_exit_code_2(tmp_path, arguments, message):
    result = run(*arguments, "--data-root", tmp_path, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_module_imports_nothing_heavy():
    code = "import sys, study.cli.data; print([m for m in ('torch', 'numpy', 'sklearn', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
