"""A command of `study` from a cold start, timed from before its process is started.

Every process has a temporary folder of its own for everything: cache, store, compiled programs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import REPOSITORY

__all__ = ["measure_dry_run", "measure_search"]

USERS = ("STUDY_", "MLFLOW_", "TORCHINDUCTOR_")
"""How the user's own settings begin, which no process is given."""
PLAIN = "import sys; sys.argv[0] = 'study'; from study.cli.app import main; main()"
WATCHED = """
import sys, time
marks = open(sys.argv.pop(1), "w", buffering=1)
sys.argv[0] = "study"
from study.cli import app, progress

class Watched(progress.TerminalCallback):
    moved, updates = False, []

    def on_trial_start(self, *what):
        self.updates = []
        super().on_trial_start(*what)

    def on_trial_end(self, *what):
        if late := self.updates[len(self.updates) // 10 :]:
            print(time.time(), "SHARE", sum(late) / len(late), file=marks)
        super().on_trial_end(*what)

    def on_phase(self, text, *more):
        print(time.time(), text, file=marks)
        super().on_phase(text, *more)

    def on_iteration(self, iteration, losses):
        if iteration and not self.moved:
            self.moved = True
            print(time.time(), "FIRST ITERATION", file=marks)
        if iteration and "match/updated" in losses:
            self.updates.append(losses["match/updated"])
        super().on_iteration(iteration, losses)

progress.TerminalCallback = Watched
app.main()
"""
"""The command `study` with a line in a file for every phase, for the first update of a synthetic image, and for every
trial that matches trajectories: the share of its iterations after the first tenth that changed the images."""


@dataclass(frozen=True)
class Ended:
    """A process that is over: its wall time, what it printed, and why it did not finish, if it did not."""

    started: float
    seconds: float
    stdout: str
    problem: str | None

    def answer(self) -> dict[str, Any]:
        """What it printed as JSON; nothing where it did not finish."""
        return {} if self.problem else dict(json.loads(self.stdout))


def run_cold(code: str, words: Sequence[str], timeout: float) -> Ended:
    """Run Python code in a process of its own, with no cache, store, compiled program or setting of the user's."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tmp").mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(USERS)}
        code_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        own = {"STUDY_CACHE": f"{folder}/cache", "TMPDIR": f"{folder}/tmp", "PYTHONPATH": code_path}
        started = time.time()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], cwd=folder, text=True, start_new_session=True,
            env=kept | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            stdout, stderr = process.communicate(timeout=timeout)
            problem = None if process.returncode == 0 else f"exit code {process.returncode}: {_last(stderr)}"
        except subprocess.TimeoutExpired:
            stdout, problem = "", f"stopped after {timeout:.0f} s"
        finally:
            seconds = time.time() - started
            _end(process)
    return Ended(started, seconds, stdout, problem)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def measure_dry_run(words: Sequence[str], timeout: float) -> dict[str, Any]:
    """The plan of a search: how long it took to be told, and what it says."""
    ended = run_cold(PLAIN, [*words, "--dry-run"], timeout)
    plan = ended.answer()
    told = {key: plan[key] for key in ("num_trials", "num_iterations", "estimated_seconds") if key in plan}
    return {"seconds": ended.seconds, "problem": ended.problem, **told}


def measure_search(words: Sequence[str], timeout: float) -> dict[str, Any]:
    """A whole search: when it began to move images, how long it took, and what it found on test."""
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        ended = run_cold(WATCHED, [str(marks), *words], timeout)
        lines = marks.read_text(encoding="utf-8").splitlines() if marks.exists() else []
    told = [(float(when) - ended.started, text) for when, _, text in (line.partition(" ") for line in lines)]
    shares = [float(text.split()[1]) for _, text in told if text.startswith("SHARE ")]
    phases = [(when, text) for when, text in told if not text.startswith(("FIRST ITERATION", "SHARE "))]
    result: dict[str, Any] = {
        "seconds": ended.seconds,
        "problem": ended.problem,
        "first_iteration_seconds": next((when for when, text in told if text == "FIRST ITERATION"), None),
        "phases": [{"seconds": when, "text": text} for when, text in phases],
    }
    if shares:
        result["shares_updated"] = shares
    answer = ended.answer()
    if not answer:
        return result
    test, random = (
        {"mean": side["test_accuracy"], "std": side["test_accuracy_std"], "n": side["n"]}
        for side in (answer["winner"], answer["random"])
    )
    return result | {
        "metric": answer["winner"]["metric"],
        "test": test,
        "random_test": random,
        "beats_random": test["mean"] > random["mean"],
        "trials_finished": answer["trials_finished"],
        "cost": answer["cost"],
        "sha256": answer["winner"]["sha256"],
    }
