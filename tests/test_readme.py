"""Every command and every Python example of the README runs, in order, in one folder."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.cli.app import app

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands():
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("study ")]


def run(words):
    if words[0] in {"tune", "distill"} and "--resume" not in words and "--dry-run" not in words:
        # The commands as written, at the size of a test.
        words = [*words, "--budget", "smoke"]
    if "--protocol" in words:
        words = [*words, "--seeds", "2", "--set", "evaluation.num_steps=5"]
    return CliRunner().invoke(app, words)


@pytest.mark.timeout(900)  # two dozen commands, minutes where other programs are busy
def test_commands_run_in_the_order_of_the_page(
    tmp_path, monkeypatch, mnist_root, build_folder, build_medmnist
):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "MNIST").symlink_to((mnist_root / "MNIST").resolve())
    build_medmnist(tmp_path / "data", "pneumoniamnist", 2, 1)
    build_folder(tmp_path / "my-pictures", {f"train/{name}": 9 for name in ("cat", "dog")})
    ran = []
    for words in commands():
        if words[0] == "ui":
            continue  # a server; its own test starts and stops it
        result = run(words)
        assert result.exit_code == 0, f"study {' '.join(words)}\n{result.output}"
        ran.append(words[0])
    assert {"tune", "sets", "evaluate", "compare", "distill"} <= set(ran)
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), {})


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist(words):
    command = [word for word in words[:2] if not word.startswith("-")]
    group = command if command[0] in {"sets", "data"} else command[:1]
    assert CliRunner().invoke(app, [*group, "--help"]).exit_code == 0


def test_files_named_in_the_page_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / target).exists(), target


def test_the_page_names_both_entry_points():
    assert "make demo" in TEXT
    assert "make test" in TEXT
