"""A method, a dataset and a protocol of another distribution: one file each, found through their entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import study

TOY = Path(__file__).with_name("toy")
COMMANDS = """
import json, sys
from typer.testing import CliRunner
from study.cli.app import app

done = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stdout, one.stderr] for one in done]))
"""


def python(*words: str, folder: Path, packages: Path = TOY) -> subprocess.CompletedProcess[str]:
    """Start Python in a folder, with a cache of its own and a folder of distributions on its path."""
    path = os.pathsep.join([str(packages), str(Path(study.__file__).parents[1])])
    hidden = ("STUDY_", "MLFLOW_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"PYTHONPATH": path, "STUDY_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def run_commands(*lines: str, folder: Path, packages: Path = TOY) -> list[list[Any]]:
    """Exit code, output and errors of each line, run one after the other in one process."""
    words = json.dumps([line.split() for line in lines])
    done = python("-c", COMMANDS, words, folder=folder, packages=packages)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_commands_search_with_it_judge_by_it_and_list_it(tmp_path: Path) -> None:
    tuned, evaluated, protocols, listed, checked, mistyped = run_commands(
        "tune --method toy --dataset toy --budget smoke --json",
        "evaluate toy-toy-ipc1@best --protocol toy --seeds 2 --set evaluation.num_steps=5",
        "evaluate --protocols",
        "data list --json",
        "data check toy --json",
        "data check tiy",
        folder=tmp_path,
    )
    assert tuned[0] == 0, tuned
    winner = json.loads(tuned[1])["winner"]
    assert winner["set"] == "toy-toy-ipc1/1"
    assert set(winner["params"]) == {"distill.image_lr"}
    assert evaluated[0] == 0, evaluated
    assert "toy-toy-ipc1@best: toy on validation, n = 2" in evaluated[1]
    assert [word for word in ("distilled", "random", "toy/accuracy:") if word not in evaluated[1]] == []
    assert "what a network of four units learns from the set" in " ".join(protocols[1].split())
    assert "toy" in [row["name"] for row in json.loads(listed[1])["datasets"]]
    assert json.loads(checked[1])["totals"] == {"train": 129, "validation": 15, "test": 36}
    assert mistyped[0] == 2
    assert "Did you mean 'toy'?" in mistyped[2]


def test_the_contracts_hold_and_tell_of_a_method_that_learns_nothing(tmp_path: Path) -> None:
    options = ("-q", "-rfs", "-W", "error", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(TOY))
    chosen = ("-k", "not Lazy or moves", str(TOY / "check_toy.py"))
    done = python("-m", "pytest", *options, *chosen, folder=tmp_path)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1, done.stdout + done.stderr
    assert "TestLazyMethod::test_moves_every_image_or_selects_real_ones" in failed[0]
    # A dataset that needs no files is not asked what it says without them.
    assert done.stdout.splitlines()[-1].startswith("1 failed, 39 passed, 1 skipped"), done.stdout


def test_an_entry_point_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    info = tmp_path / "broken-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[study.methods]\nlost = no_such_module:Lost\n")
    ((code, _, errors),) = run_commands(
        "distill --method dm --dataset digits --budget smoke", folder=tmp_path, packages=tmp_path
    )
    assert code == 2, errors
    assert "method plug-in 'lost' (no_such_module:Lost) of broken cannot be loaded" in errors
    assert "Traceback" not in errors
