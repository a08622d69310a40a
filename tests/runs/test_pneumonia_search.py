"""Open medical data of two unbalanced classes, from the search to the card of the registered set."""

import json

from typer.testing import CliRunner

from study.cli.app import app


def test_pneumonia_is_searched_and_its_card_states_the_terms(pneumonia_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ["tune", "--method", "dm", "--dataset", "pneumoniamnist", "--data-root", str(pneumonia_root)]
    tuned = CliRunner().invoke(app, [*words, "--budget", "smoke", "--trials", "1", "--json"])
    assert tuned.exit_code == 0, tuned.output
    outcome = json.loads(tuned.stdout)
    assert outcome["winner"]["metric"] == "balanced_accuracy"
    name = outcome["winner"]["set"]
    assert name == "pneumoniamnist-dm-ipc1/1"
    assert CliRunner().invoke(app, ["sets", "download", name, "--output", "mine"]).exit_code == 0
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    assert manifest["class_names"] == ["normal", "pneumonia"]
    assert {"auc", "accuracy"} <= set(manifest["scores"]["test"]["extra"])
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "CC BY 4.0; cite Yang et al. 2023 (MedMNIST v2) and Kermany et al. 2018" in card
    assert "(normal, pneumonia)" in card
