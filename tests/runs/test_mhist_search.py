"""A medical dataset in its owners' layout, from the first check to the registered set."""

import json

from typer.testing import CliRunner

from study.cli.app import app


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def test_mhist_is_checked_searched_and_registered(mhist_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    checked = json.loads(run("data", "check", "mhist", "--data-root", mhist_root, "--json").stdout)
    assert checked["class_names"] == ["HP", "SSA"]
    assert sum(checked["totals"].values()) == 120
    words = ["tune", "--method", "dm", "--dataset", "mhist", "--data-root", mhist_root]
    outcome = json.loads(run(*words, "--resolution", 64, "--budget", "smoke", "--json").stdout)
    # Two thirds of the pictures are HP, so that accuracy alone would flatter.
    assert outcome["winner"]["metric"] == "balanced_accuracy"
    assert outcome["winner"]["set"] == "mhist-dm-ipc1-64px/1"
    run("sets", "download", "mhist-dm-ipc1-64px@best", "--output", "mine")
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    assert manifest["image_shape"] == [3, 64, 64]
    assert manifest["class_names"] == ["HP", "SSA"]
    assert {"auc", "accuracy"} <= set(manifest["scores"]["test"]["extra"])
    assert "mhist-dm-ipc1-64px/1" in run("sets", "verify").stdout
