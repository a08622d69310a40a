"""What a terminal shows while a command works."""

import io
import os
import pty
import subprocess
import sys
import time

import pytest
from rich.console import Console

from study.cli import progress
from study.cli.progress import TerminalCallback, watched
from study.core.records import Score
from study.core.reporting import advance, work


@pytest.fixture
def screen(monkeypatch):
    """What a terminal of 100 columns would get."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(progress, "err", lambda: console)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    return text


def bars_of(callback):
    return [(task.description, task.completed, task.total) for task in callback.bars.tasks]


def test_work_has_a_bar_until_it_is_done(screen):
    callback = TerminalCallback(quiet=False)
    callback.on_search("s", 4, 0)
    callback.on_work("decoding images", 0, 50)
    callback.on_work("decoding images", 20, 50)
    assert bars_of(callback)[1:] == [("decoding images", 20, 50)]
    callback.on_work("training experts", 3, 10)
    assert bars_of(callback)[1:] == [("training experts", 3, 10)], "one at a time"
    callback.on_work("training experts", 10, 10)
    assert bars_of(callback)[1:] == []


def test_the_end_of_a_trial_takes_its_bars_away(screen):
    callback = TerminalCallback(quiet=False)
    callback.on_trial_start(0, {}, 10)
    callback.on_work("trying step sizes", 1, 8)
    assert len(bars_of(callback)) == 2
    callback.on_trial_end(0, "DIVERGED", {})
    assert bars_of(callback) == []


def test_whatever_is_done_within_the_block_is_shown(screen):
    with watched(quiet=False) as callback, work("reading", 3):
        advance()
        assert bars_of(callback) == [("reading", 1, 3)]
        callback.bars.refresh()
    shown = screen.getvalue()
    assert shown.index("starting") < shown.index("reading")
    assert "1/3" in shown
    assert "left" in shown


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    text = io.StringIO()
    console = Console(file=text, width=100)
    monkeypatch.setattr(progress, "err", lambda: console)
    for terminal in (False, True):
        monkeypatch.setattr(console, "_force_terminal", terminal)
        with watched(quiet=True) as callback, work("reading", 3):
            callback.on_phase("loading digits")
            advance()
    assert text.getvalue() == ""


def test_the_first_line_comes_before_anything_heavy_is_imported(tmp_path):
    """In a real terminal, from the start of the command."""
    code = (
        "import sys\n"
        "from study.cli import progress\n"
        "said = progress.TerminalCallback.on_phase\n"
        "def on_phase(self, text):\n"
        "    said(self, text)\n"
        "    heavy = {'torch', 'mlflow', 'optuna', 'numpy'} & set(sys.modules)\n"
        "    sys.exit(f'{text!r} after {heavy}' if heavy else 0)\n"
        "progress.TerminalCallback.on_phase = on_phase\n"
        "from study.cli.app import app\n"
        "app(['tune', '--budget', 'smoke'])\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=theirs, cwd=tmp_path, env=environment, check=False, timeout=60
    )
    seconds = time.perf_counter() - started
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert "starting" in shown
    # Generous, for a busy machine: any heavy import alone would take longer than this.
    assert seconds < 5


def test_without_a_terminal_lines_come_every_few_seconds_and_at_the_end_of_trials(monkeypatch):
    text, now = io.StringIO(), [100.0]
    console = Console(file=text, width=100, highlight=False)
    monkeypatch.setattr(progress, "err", lambda: console)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    callback = TerminalCallback(quiet=False)
    callback.on_phase("loading digits")
    callback.on_search("digits-dm-ipc1-1", 4, 0)
    callback.on_trial_start(0, {"distill.image_lr": 0.51234, "distill.init": "real"}, 100)
    for iteration in range(101):
        callback.on_iteration(iteration, {"match/loss": 2.0})
        now[0] += 0.2
    callback.on_score(100, Score("accuracy", (0.9, 0.92)))
    callback.on_random(Score("accuracy", (0.7, 0.72)))
    callback.on_trial_end(0, "COMPLETE", {"accuracy": 0.91})
    callback.on_trial_end(1, "PRUNED", {})
    lines = text.getvalue().splitlines()
    assert len(lines) == 4 + 2, "twenty seconds, and two ends"
    assert lines[0] == "trial 0: 25 of 100 iterations, 5.0 it/s  loss 2, 0.2 of 4 trials, about 75 s left"
    assert lines[-2] == (
        "trial   0  91.0 ± 1.4 %, +20.0 over random, 20 s  image_lr=0.512 init=real  best 91.0 % (trial 0)"
    )
    assert lines[-1].startswith("trial   1  pruned, ")


def test_a_resumed_search_counts_its_time_from_what_is_done_here(monkeypatch):
    text, now = io.StringIO(), [100.0]
    console = Console(file=text, width=100, highlight=False)
    monkeypatch.setattr(progress, "err", lambda: console)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    callback = TerminalCallback(quiet=False)
    callback.on_search("s", 20, 10)
    callback.on_trial_start(10, {}, 100)
    callback.on_iteration(0, {})
    now[0] += 60
    callback.on_iteration(50, {})
    assert text.getvalue().endswith("10.5 of 20 trials, about 19 min left\n")
