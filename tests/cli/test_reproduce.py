"""A real digits search that is distilled again: the same bytes, or the reason why not."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import study
from study.cli.app import app


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(place)
        result = study.tune("dm", "digits", budget="smoke", name="mine", trials=2)
    return place, result


@pytest.fixture
def here(searched, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(searched[0])


def state():
    return len(study.list_runs(trials=True)), len(study.list_runs()), len(study.sets())


def test_search_set_and_trial_give_the_same_bytes_and_nothing_is_recorded(searched, here):
    winner, before = searched[1].winner, state()
    for reference in ("mine", f"{winner.set.split('/')[0]}@best", winner.set, winner.run_id):
        result = invoke("reproduce", reference, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["same"]
        assert found["sha256"] == found["recorded_sha256"] == winner.sha256
        assert found["differences"] == {}
    assert state() == before


def test_a_changed_configuration_gives_other_bytes_and_is_named(searched, here, tmp_path):
    study.download(searched[1].winner.set, tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["seed"] += 1
    manifest["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(manifest))
    result = invoke("reproduce", tmp_path / "set")
    assert result.exit_code == 1, result.output
    assert "DIFFERENT" in result.stdout
    assert "torch: recorded 1.0, here " in result.stdout
    assert f"config_digest: recorded {manifest['config_digest']}, here " in result.stdout


def test_other_data_is_refused_before_anything_is_distilled(searched, here, tmp_path, monkeypatch):
    study.download(searched[1].winner.set, tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dataset_fingerprint": "0" * 64}))
    monkeypatch.setattr("study.runs.reproduce._distil", lambda *_: pytest.fail("distilled on other data"))
    result = invoke("reproduce", tmp_path / "set")
    assert result.exit_code == 2
    assert "fingerprint 000000000000" in result.stderr


def test_an_unknown_run_makes_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert invoke("reproduce", "nothing").exit_code == 2
    assert list(tmp_path.iterdir()) == []
