"""`study tune` for two objectives, from the command to the table and the JSON."""

import json

import pytest
from typer.testing import CliRunner

from study.cli.app import app

SMALL = ["--budget", "smoke", "--set", "search.cross_models=['mlp:16']", "--set", "search.num_finalists=2"]


def run(*words, command="tune"):
    return CliRunner().invoke(app, [command, *words])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "speed"], "search.objective = 'speed'"),
        (["--objective", "accuracy,accuracy"], "'accuracy,cross-arch'"),
        (["--objective", ""], "search.objective = ''"),
        (["--objective", "cross-arch,accuracy", "--set", "search.num_cross_seeds=0"], "num_cross_seeds >= 1"),
        (["--objective", "cross-arch", "--set", "search.cross_models=['convnet']"], "other than 'convnet'"),
    ],
)
def test_objectives_that_cannot_be_raised_are_one_line(tmp_path, words, message):
    result = run("--budget", "smoke", *words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_two_objectives_from_plan_to_table(tmp_path):
    both = ["--objective", "cross-arch,accuracy", *SMALL]
    plan = run(*both, "--dry-run", "--json")
    assert plan.exit_code == 0, plan.stderr
    assert json.loads(plan.stdout)["num_trials"] == 2
    assert not (tmp_path / "mlruns").exists()

    result = run(*both, "--json")
    assert result.exit_code == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["objective"] == "accuracy,cross-arch"
    assert outcome["winner"]["trial"] in outcome["front"]
    assert set(outcome["winner"]["objectives"]) == {"accuracy", "cross-arch"}

    again = run("--resume", outcome["search"], "--objective", "cross-arch,accuracy", "--trials", "3")
    assert again.exit_code == 0, again.stderr
    words = " ".join(again.stdout.split())
    assert "front: complete, and no other trial" in words
    assert "highest mean of accuracy and cross-arch" in words

    other = run("--resume", outcome["search"], "--objective", "accuracy")
    assert other.exit_code == 2
    assert "asked is 'accuracy'" in other.stderr


def test_next_commands_name_the_store_that_was_asked_for(tmp_path):
    made = run(
        "-m", "random", "-d", "digits", "--budget", "smoke", "--tracking-uri", "else where", command="distill"
    )
    assert made.exit_code == 0, made.output
    starts = ("  study ui", "  study sets download digits-random-ipc1@best --output", "  study evaluate")
    for start in starts:
        line = next(line for line in made.stdout.splitlines() if line.startswith(start))
        assert line.endswith("--tracking-uri 'else where'")
    assert not (tmp_path / "mlruns").exists()


def test_an_evaluation_cannot_change_how_a_set_was_made():
    refused = run("digits-dm-ipc1@best", "--set", "distill.image_lr=1", command="evaluate")
    assert refused.exit_code == 2
    assert "--set distill.*: the set is made already" in refused.stderr


def test_a_method_without_variants_says_so():
    refused = run("-m", "dm", "-d", "digits", "--variant", "x", "--dry-run")
    assert refused.exit_code == 2
    assert "unknown variant 'x': there is none to choose from here" in refused.stderr
