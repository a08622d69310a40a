"""The README does what it says: its commands and Python examples run, what it names is there."""

from __future__ import annotations

import re
import shlex
import urllib.request
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner
from ui_process import ui_process

import study
from study.cli.app import app

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)
LINES = [line for language, block in BLOCKS if language == "bash" for line in block.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES if line.startswith("study ")]
ROOT = typer.main.get_command(app)

SHORT = ["--set", "evaluation.num_steps=5"]
SMALL = ["--budget", "smoke", *SHORT]
FEW = ["--seeds", "2", *SHORT]
SIZES = {"tune": SMALL, "distill": SMALL, "experts build": SMALL, "evaluate": FEW, "compare": FEW}
OWN_PICTURES = re.compile(r"--dataset folder.* --data-root (\S+)")


def find_command(words: list[str]) -> tuple[str, click.Command]:
    """The command that words after ``study`` lead to, and its name."""
    command, names = ROOT, []
    for word in words:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"study {' '.join([*names, word])} is no command"
        command = command.commands[word]
        names.append(word)
    return " ".join(names), command


def options_of(command: click.Command) -> set[str]:
    return {"--help"}.union(*(one.opts + one.secondary_opts for one in command.params))


def all_options(command: click.Command) -> set[str]:
    below = getattr(command, "commands", {}).values()
    return options_of(command).union(*(all_options(one) for one in below))


def sized(words: list[str]) -> list[str]:
    """A command as the page has it, on data that every machine has and at the size of a test."""
    small = [re.sub(r"\b(fashion-mnist|mnist|cifar10)\b", "digits", word) for word in words]
    name, _ = find_command(small)
    is_done = "--resume" in small or (name == "compare" and "--seeds" not in small)
    more = [] if is_done or "--budget" in small else SIZES.get(name, [])
    return [*small, *more]


@pytest.mark.timeout(900)  # two dozen commands, minutes where other programs are busy
def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    build_folder: Callable[..., Path],
    build_mhist: Callable[[Path, int, int], Path],
    build_medmnist: Callable[..., Path],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "STUDY_STORAGE", "STUDY_DATA"):
        monkeypatch.delenv(name, raising=False)
    build_mhist(tmp_path / "data" / "mhist", 60, 224)
    build_medmnist(tmp_path / "data", "pneumoniamnist", 2, 1)
    for root in {found for line in LINES for found in OWN_PICTURES.findall(line)}:
        build_folder(tmp_path / root, {f"train/{name}": 9 for name in ("cat", "dog")})
    ran = 0
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, str(README), "exec"), {})
            ran += 1
            continue
        for line in block.splitlines():
            words = shlex.split(line, comments=True)[1:]
            if not line.startswith("study ") or words[0] == "ui":
                continue
            result = CliRunner().invoke(app, sized(words))
            assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
            assert result.stdout.strip(), line
            ran += 1
    assert ran >= 20, "the blocks of the page were not found"
    for words in COMMANDS:
        if words[1] == "ui":
            # In another process, since it serves until it is interrupted.
            with (
                ui_process(tmp_path, *words[2:]) as shown,
                urllib.request.urlopen(f"{shown['address']}/health", timeout=10) as answer,
            ):
                assert answer.status == 200


def test_every_command_and_option_of_the_text_exists() -> None:
    spans = [span.split() for span in SPANS if span.startswith("study ")]
    assert spans
    for words in [*COMMANDS, *spans]:
        name, command = find_command(words[1:])
        assert {word for word in words if word.startswith("--")} <= options_of(command), f"study {name}"
    named = {option for span in SPANS if span.startswith("--") for option in re.findall(r"--[a-z-]+", span)}
    assert named
    assert named <= all_options(ROOT)


def test_everything_else_that_the_page_names_exists() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = {word for line in [*LINES, *SPANS] for word in re.findall(r"^make ([a-z-]+)", line)}
    assert {"demo", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    functions = {name for span in SPANS for name in re.findall(r"^study\.(\w+)\(", span)}
    assert functions <= set(study.__all__)
    sources = "".join(path.read_text(encoding="utf-8") for path in README.parent.glob("study/**/*.py"))
    for variable in re.findall(r"\b(?:STUDY|MLFLOW)_[A-Z_]+\b", TEXT):
        assert f'"{variable}"' in sources, variable
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / target).exists(), target
