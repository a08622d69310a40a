from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from study.cli.app import app
from study.sets.files import read_set
from study.tracking.open import open_tracker

NAME = "digits-dm-ipc1"
TAGS = {
    "method": "dm", "budget": "quick", "val_accuracy": "0.841", "test_accuracy": "0.8300",
    "test_accuracy_std": "0.0110", "random_test_accuracy": "0.6200",
}  # fmt: skip


@pytest.fixture
def uri(memory_uri, set_factory, tmp_path):
    tracker = open_tracker(memory_uri)
    run = tracker.start_run("digits-ipc1", "trial-0")
    folder = set_factory(tmp_path / "a-set")
    tracker.register_set(folder, NAME, run_id=run.run_id, tags=TAGS, card="", alias="best")
    return memory_uri


def invoke(*words):
    return CliRunner().invoke(app, ["sets", *map(str, words)])


def test_list_shows_reference_alias_and_scores_beside_random(uri):
    result = invoke("list", "--tracking-uri", uri)
    assert result.exit_code == 0
    for word in (f"{NAME}/1", "best", "84.1", "83.0 ± 1.1", "62.0", "quick"):
        assert word in result.stdout, word


def test_list_json_is_one_object(uri):
    result = invoke("list", "--json", "--tracking-uri", uri)
    (entry,) = json.loads(result.stdout)["sets"]
    assert (entry["name"], entry["version"], entry["aliases"]) == (NAME, "1", ["best"])
    assert result.stderr == ""


def test_an_empty_store_says_what_fills_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "study tune" in invoke("list").stdout
    assert json.loads(invoke("list", "--json").stdout) == {"sets": []}
    assert list(tmp_path.iterdir()) == []


def test_show_prints_the_card(uri):
    result = invoke("show", NAME, "--tracking-uri", uri)
    assert result.exit_code == 0
    for word in ("Scores", "load_file", "version 1, aliases: best", "SHA-256"):
        assert word in result.stdout, word


def test_download_then_show_and_verify_the_folder(uri, tmp_path):
    target = tmp_path / "copy"
    result = invoke("download", f"{NAME}@best", "-o", target, "--tracking-uri", uri)
    assert result.exit_code == 0
    assert read_set(target).synthetic.ipc == 1
    assert json.loads(invoke("show", target, "--json").stdout)["manifest"]["name"] == NAME
    verified = invoke("verify", target, "--json")
    assert (verified.exit_code, json.loads(verified.stdout)["whole"]) == (0, True)


def test_download_json(uri, tmp_path):
    result = invoke("download", NAME, "--output", tmp_path / "copy", "--json", "--tracking-uri", uri)
    done = json.loads(result.stdout)
    assert done["set"] == f"{NAME}/1"
    assert done["sha256"] == read_set(tmp_path / "copy").manifest.files["data.safetensors"].sha256


def test_verify_names_the_broken_set_and_exits_with_2(uri, tmp_path):
    (tmp_path / "a-set" / "preview.png").write_bytes(b"")
    result = invoke("verify", tmp_path / "a-set", f"{NAME}/1", "--tracking-uri", uri)
    assert result.exit_code == 2
    assert "BROKEN" in result.stdout
    assert "preview.png" in result.stdout
    assert "1 of 2 sets are whole" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "digits-dm-ipc2"), "Did you mean"),
        (("download", f"{NAME}@worst"), "no alias 'worst'"),
        (("download", f"{NAME}/9"), "no version 9"),
        (("show", "../nothing"), "not a folder"),
        (("show", "0" * 32), "no run"),
        (("show", "a b"), "no reference"),
    ],
)
def test_what_cannot_be_found_is_one_line_and_exit_code_2(uri, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    result = invoke(*words, "--tracking-uri", uri)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == ""
    assert set(tmp_path.iterdir()) == before


def test_a_server_that_does_not_answer(tmp_path):
    result = invoke("list", "--tracking-uri", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "does not answer" in result.stderr
    assert result.stderr.count("\n") == 1


def test_export_tells_what_it_wrote_and_what_it_clipped(uri, tmp_path):
    result = invoke("export", NAME, "--format", "imagefolder", "-o", tmp_path / "out", "--tracking-uri", uri)
    assert result.exit_code == 0
    assert f"{NAME}/1 is in {tmp_path / 'out'} as imagefolder: 12 files" in result.stdout
    assert "of pixels clipped" in result.stdout


def test_export_as_folder_is_the_set_itself(uri, tmp_path):
    result = invoke("export", NAME, "-f", "folder", "-o", tmp_path / "out", "--json", "--tracking-uri", uri)
    assert result.exit_code == 0
    assert (
        json.loads(result.stdout)["sha256"]
        == read_set(tmp_path / "out").manifest.files["data.safetensors"].sha256
    )


def test_promote_tells_why_not_in_one_line_and_exits_with_2(uri):
    words = ["--tracking-uri", uri]
    result = invoke("promote", f"{NAME}/1", *words)
    assert (result.exit_code, result.stderr) == (2, f"Error: {NAME}/1 is best already\n")
    result = invoke("promote", f"{NAME}/1", "--force", *words)
    assert result.exit_code == 2
    assert "--force needs --reason TEXT" in result.stderr


def test_delete_asks_first(uri):
    tracker = open_tracker(uri)
    words = ["delete", f"{NAME}/1", "--force", "--tracking-uri", uri]
    refused = CliRunner().invoke(app, ["sets", *words], input="n\n")
    assert refused.exit_code == 1
    assert f"Delete {NAME}/1 (best) for good?" in refused.output
    assert len(tracker.list_sets(NAME)) == 1
    result = CliRunner().invoke(app, ["sets", *words], input="y\n")
    assert result.exit_code == 0
    assert f"{NAME}/1 is deleted, its files too" in result.output
    assert tracker.list_sets(NAME) == []


def test_delete_without_asking_and_never_the_best(uri):
    result = invoke("delete", f"{NAME}/1", "--yes", "--tracking-uri", uri)
    assert result.exit_code == 2
    assert "is best of its name" in result.stderr
    assert len(open_tracker(uri).list_sets(NAME)) == 1
