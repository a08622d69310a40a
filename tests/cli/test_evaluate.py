"""`study evaluate`: the line of whole real data, and tables of protocols that 80 columns hold."""

import json

import pytest
from typer.testing import CliRunner

from study.cli.app import app
from study.cli.common import out
from study.cli.tables import show_evaluation
from study.evaluation.recipes import EvaluationConfig
from study.runs.evaluate import Evaluation


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_DATA"):
        monkeypatch.delenv(name, raising=False)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "other"], "against = 'other': protocol 'architectures' takes none; noise does"),
        (["--protocol", "noise", "--full-data"], "full_data = True: protocol 'noise' takes none"),
        (["--protocol", "noise", "--models", "mlp"], "models = ('mlp',): protocol 'noise' takes none"),
    ],
)
def test_options_that_would_be_ignored_are_refused(tmp_path, words, message):
    result = run("evaluate", "digits-dm-ipc1", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_full_data_is_a_line_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("study.evaluation.full_data.FULL_DATA", EvaluationConfig(num_epochs=1, num_seeds=2))
    made = run("distill", "--method", "random", "--budget", "smoke", "--output", "set", "--json")
    assert made.exit_code == 0, made.stderr
    asked = ["evaluate", "./set", "--pool", "none", "--seeds", 1, "--set", "evaluation.num_steps=2"]
    without = run(*asked, "--no-full-data")
    assert without.exit_code == 0, without.stderr
    assert "not known here; --full-data trains on it once, about 0 s" in " ".join(without.stdout.split())
    (line,) = json.loads(run(*asked, "--json").stdout)["totals"]
    assert line["n"] == 2
    table = run(*asked, "--no-full-data").stdout
    assert f"{100 * line['distilled']:.1f} ± {100 * line['distilled_std']:.1f} %" in table
    assert "not known" not in table
    cells = [line.split("│")[1].strip() for line in table.splitlines() if line.startswith("│")]
    assert line["model"] in " ".join(cells)


def test_protocols_are_listed_with_what_they_ask():
    listed = run("evaluate", "--protocols").stdout
    assert "leakage" in listed
    assert "near copies of real training images" in listed
    assert run("evaluate").exit_code == 2


def result_of(protocol, rows):
    return Evaluation(
        protocol=protocol, set="digits-dm-ipc10/12", dataset="digits", method="dm", ipc=10, split="validation",
        model="convnet", recipe={}, n=5, metrics={}, rows=rows, columns={}, totals=[],
        notes=["study distill " + "--set a=b " * 20], artifacts=[], run_id="0" * 32,
    )  # fmt: skip


COST = [
    {"training": name, "num_steps": 2000, "batch_size": 256, "accuracy": 0.912345, "std": 0.0123, "n": 5,
     "flops": 1.234e12, "seconds": 12.345, "reached": True}
    for name in ("distilled, own recipe", "distilled, shortest", "whole data, shortest")
]  # fmt: skip
NOISE = [
    {"noise_on": "training images", "trained_on": f"digits-dm-ipc10/{version} (from noise)", "level": level,
     "accuracy": 0.91, "std": 0.01, "n": 5}
    for version in (1, 2)
    for level in (0.0, 0.5, 1.0, 2.0)
]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "rows", "num_lines"),
    [("cost", COST, 7), ("noise", NOISE, 4), ("noise", NOISE[:-1], 7)],
)
def test_tables_fit_80_columns_with_a_line_a_row_and_what_they_compare_side_by_side(
    capsys, protocol, rows, num_lines
):
    out.cache_clear()  # its width is that of an earlier test
    show_evaluation(result_of(protocol, rows))
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if line.startswith("│")]
    assert len(lines) == num_lines
    assert all(len(line) <= 80 for line in lines)
    scores = " ".join(lines).count("91.2 ± 1.2 %") + " ".join(lines).count("91.0 ± 1.0 %")
    assert scores == len(rows)
    assert not any("…" in line for line in printed)
    assert any(line.startswith("study distill") and len(line) > 200 for line in printed), "to be copied whole"
