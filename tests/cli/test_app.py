"""The command line as a user meets it: help at once, one clear line for what they can mend."""

import json
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from study.cli.app import app

RUNNER = CliRunner()
COMMANDS = ["tune", "distill", "evaluate", "compare", "report", "sets", "data", "experts", "recipe", "ui"]


def run(*words, cwd=None):
    return RUNNER.invoke(app, list(words))


def one_line_error(*words):
    result = run(*words)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_DATA"):
        monkeypatch.delenv(name, raising=False)


def test_help_needs_no_heavy_library():
    code = (
        "import sys; from study.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'numpy', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout
    # Generous, for a busy machine: any heavy import alone would take longer than this.
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("words", [["sets", "list"], ["compare"], ["compare", "--trials"]])
def test_listings_load_nothing_but_the_tracking_store(tmp_path, words):
    (tmp_path / "mlruns").mkdir()
    code = (
        f"import sys; from study.cli.app import app\nsys.argv = ['study', *{words!r}]\n"
        "try: app()\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "heavy = {'torch', 'optuna', 'altair', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    for made in (False, True):
        if made:
            assert run("distill", "--method", "random", "--budget", "smoke").exit_code == 0
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("digits-random" in done.stdout) is made, done.stdout
        assert (tmp_path / "mlruns" / "mlflow.db").exists() is made, "reading makes no store"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    if command not in {"sets", "data", "experts", "recipe"}:
        assert "Example" in result.output


@pytest.mark.parametrize("command", ["tune", "distill"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "dmm"], "unknown method 'dmm'. Did you mean 'dm'?"),
        (["--dataset", "digit"], "unknown dataset 'digit'. Did you mean 'digits'?"),
        (["--budget", "huge"], "unknown budget 'huge'"),
        (["--set", "distill.image_lrr=1"], "Did you mean 'distill.image_lr'?"),
        (["--set", "distill.image_lr=fast"], "distill.image_lr = 'fast'"),
        (["--set", "model.name=convnat"], "unknown model 'convnat'"),
        (["--set", "nonsense"], "expected key=value"),
        (["--ipc", "0"], "ipc = 0"),
        (["--ipc", "-2"], "ipc = -2"),
        (["--ipc", "5000"], "ipc 5000 is more than the"),
        (["--dataset", "mnist", "--data-root", "nowhere"], "study data prepare mnist"),
        (["--dataset", "mhist", "--data-root", "nowhere"], "bmirds.github.io/MHIST"),
        (["--recipe", "absent.toml"], "cannot read recipe absent.toml"),
        (["--device", "gpu"], "unknown device 'gpu'"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_nothing_is_written(tmp_path, command, words, message):
    assert message in one_line_error(command, *words)
    assert list(tmp_path.iterdir()) == []


def test_tune_says_what_cannot_be_searched_or_resumed(tmp_path):
    assert "nothing to search" in one_line_error("tune", "--method", "random")
    assert "expected key=low:high" in one_line_error("tune", "--space", "x")
    assert "no search is named 'x'" in one_line_error("tune", "--resume", "x")


def test_store_that_does_not_answer_or_cannot_be_written(tmp_path):
    quick = ["tune", "--budget", "smoke"]
    assert "127.0.0.1:9" in one_line_error(*quick, "--tracking-uri", "http://127.0.0.1:9")
    (tmp_path / "mlruns").write_text("a file in the way")
    assert "mlruns" in one_line_error(*quick)


def test_output_folder_is_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    assert "not empty" in one_line_error("tune", "--budget", "smoke", "--output", "mine")


def test_dry_run_prints_a_plan_and_writes_nothing(tmp_path):
    result = run("tune", "--budget", "smoke", "--dry-run")
    assert result.exit_code == 0
    assert "distill.image_lr" in result.stdout
    assert "method dm, smoke" in result.stdout
    plan = json.loads(run("tune", "--budget", "smoke", "--dry-run", "--json").stdout)
    assert plan["num_trials"] == 2
    assert {"key": "model.width", "value": 16, "origin": "budget smoke"} in plan["settings"]
    assert not [row for row in plan["settings"] if row["origin"].endswith("default")]
    assert plan["estimated_seconds"] > 0
    assert not (tmp_path / "mlruns").exists()


def test_json_is_one_object_and_the_set_can_be_used(tmp_path):
    result = run("tune", "--budget", "smoke", "--json", "--output", "copy")
    assert result.exit_code == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["winner"]["set"] == "digits-dm-ipc1/1"
    assert (tmp_path / "copy" / "data.safetensors").is_file()

    again = run("tune", "--resume", outcome["search"], "--trials", "3", "--profile")
    assert again.exit_code == 0, again.stderr
    assert "3 trials" in again.stdout
    assert "random real images" in again.stdout
    assert "where the time went" in again.stdout

    refused = run("tune", "--resume", outcome["search"], "--ipc", "2")
    assert refused.exit_code == 2
    assert "asked is 2" in refused.stderr

    compared = json.loads(run("compare", "--json").stdout)["runs"]
    assert [row["run"] for row in compared] == [outcome["search"]]
    trials = run("compare", outcome["search"], "--trials", "--csv").stdout.splitlines()
    assert len(trials) == 1 + 3
    assert trials[0].startswith("run,")

    shown = json.loads(
        run("evaluate", "digits-dm-ipc1@best", "--seeds", "2", "--models", "mlp", "--json").stdout
    )
    assert shown["n"] == 2
    assert shown["split"] == "validation"
    assert [row["model"] for row in shown["rows"]] == ["convnet", "mlp"]
    table = run("evaluate", "digits-dm-ipc1@best", "--seeds", "2", "--pool", "none")
    assert "random real images" in table.stdout

    version = "digits-dm-ipc1/1"
    paired = json.loads(run("compare", version, version, "--seeds", "2", "--json").stdout)
    assert paired["p_value"] == 1.0
    assert "paired seeds" in run("compare", version, version, "--seeds", "2").stdout
    assert "two sets, but 1" in one_line_error("compare", version, "--seeds", "2")
    assert "go with --seeds" in one_line_error("compare", version, "--test")


def test_version():
    assert run("--version").output.startswith("study ")
