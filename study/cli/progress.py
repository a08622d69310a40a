"""Progress: bars in a terminal, plain lines every few seconds elsewhere; silent beside JSON."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from study import Callback
from study.cli.common import EXIT_INTERRUPTED, err, percent
from study.core.reporting import listening
from study.core.signals import terminate_like_interrupt
from study.core.words import duration, short

if TYPE_CHECKING:
    from study import Score

REFRESH_SECONDS = 0.1
PLAIN_SECONDS = 5.0
"""Between two lines where there is no terminal; the end of a trial is always one."""


@contextlib.contextmanager
def watched(*, quiet: bool, advise: Callable[[str | None], str] | None = None) -> Iterator[TerminalCallback]:
    """Progress for the length of a block, which SIGTERM ends like Ctrl-C.

    Args:
        quiet: draw nothing.
        advise: says what an interruption has left and how to go on, from the name of the search if it is open.
    """
    callback = TerminalCallback(quiet=quiet)
    with terminate_like_interrupt(), callback.bars, listening(callback.on_work):
        # What comes next may load PyTorch first, which takes seconds.
        callback.on_phase("starting")
        try:
            yield callback
        except KeyboardInterrupt as interrupt:
            if advise is None:
                raise
            callback.bars.stop()
            sys.stderr.write(advise(callback.search) + "\n")
            raise typer.Exit(EXIT_INTERRUPTED) from interrupt


class TerminalCallback(Callback):
    """Draws bars on standard error, or prints plain lines where that is no terminal; only warnings if ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = err()
        self._live = self._console.is_terminal and not quiet
        self._plain = not self._console.is_terminal and not quiet
        self.bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=28), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console, disable=not self._live, transient=True,
        )  # fmt: skip
        self.search: str | None = None
        self._trials: TaskID | None = None
        self._inner: TaskID | None = None
        self._work: TaskID | None = None
        self._work_name = ""
        self._best: float | None = None
        self._best_name = "best"
        self._best_trial = 0
        self._number, self._finished, self._total, self._iterations, self._resumed = 0, 0, 0, 1, 0
        self._params: Mapping[str, Any] = {}
        self._score: Score | None = None
        self._random: Score | None = None
        self._began = self._searched = self._said = time.monotonic()
        self._drawn = 0.0

    def on_phase(self, text: str) -> None:
        """One dim line a stage."""
        if self._live:
            self._console.print(f"[dim]{text}[/dim]")
        self._say(text)

    def on_search(self, name: str, num_trials: int, num_finished: int) -> None:
        """The upper bar counts trials."""
        self.search = name
        self._finished, self._total, self._searched = num_finished, num_trials, time.monotonic()
        self._resumed = num_finished
        self._trials = self.bars.add_task(name, total=num_trials, completed=num_finished, note="")

    def on_trial_start(self, number: int, params: Mapping[str, Any], num_iterations: int) -> None:
        """The lower bar counts iterations of this trial."""
        self._drop_inner()
        self._number, self._params, self._score, self._began = number, params, None, time.monotonic()
        self._iterations = total = max(1, num_iterations)
        self._inner = self.bars.add_task(f"trial {number}", total=total, note="")

    def on_work(self, what: str, done: float, total: int) -> None:
        """A bar below the others, until the work is done."""
        if done >= total or what != self._work_name:
            self._drop_work()
        if done >= total:
            return
        self._say(f"{what}: {done:.0f} of {total}")
        if self._work is None:
            self._work, self._work_name = self.bars.add_task(what, total=total, note=""), what
        if (now := time.monotonic()) - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            self.bars.update(self._work, completed=done)

    def on_iteration(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Rate and loss, ten times a second at most."""
        now = time.monotonic()
        if iteration == 0:
            self._started = now
        if self._inner is None or now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        rate = iteration / max(1e-9, now - self._started)
        loss = losses.get("match/loss")
        note = f"{rate:.1f} it/s" + (f"  loss {loss:.3g}" if loss is not None else "")
        self.bars.update(self._inner, completed=iteration, note=note)
        done = self._finished + iteration / self._iterations
        if self._trials is not None:
            # The whole search has a time left from its first iterations on.
            self.bars.update(self._trials, completed=done)
        where = f"trial {self._number}: {iteration} of {self._iterations} iterations"
        self._say(f"{where}, {note}{self._left(done, now)}")

    def on_score(self, iteration: int, score: Score) -> None:
        """The latest validation score beside the lower bar."""
        self._score = score
        if self._inner is not None:
            self.bars.update(self._inner, completed=iteration, note=f"val {percent(score.mean, score.std)}")

    def on_random(self, score: Score) -> None:
        """Kept for the line of the trial."""
        self._random = score

    def on_trial_end(self, number: int, outcome: str, values: Mapping[str, float]) -> None:
        """A line for the finished trial; the best so far beside the upper bar."""
        self._drop_inner()
        if values:
            value = statistics.fmean(values.values())
            self._best_name = "best mean" if len(values) > 1 else "best"
            if self._best is None or value > self._best:
                self._best, self._best_trial = value, number
        self._finished += int(outcome != "INTERRUPTED")
        best = (
            ""
            if self._best is None
            else f"{self._best_name} {percent(self._best)} (trial {self._best_trial})"
        )
        if self._trials is not None:
            self.bars.update(self._trials, completed=self._finished, note=best)
        line = "  ".join(
            filter(None, (f"trial {number:>3}", self._result(outcome, values), self._settings(), best))
        )
        if self._live:
            self._console.print(line, style="dim", markup=False, soft_wrap=True)
        self._say(line, always=True)

    def on_warning(self, text: str) -> None:
        """Always shown."""
        self._console.print(f"[yellow]Warning:[/yellow] {text}")

    def _result(self, outcome: str, values: Mapping[str, float]) -> str:
        """What came of a trial: its score with the gain over random real images, or how it ended."""
        seconds = f"{time.monotonic() - self._began:.0f} s"
        if not values or self._score is None:
            return f"{outcome.lower()}, {seconds}"
        words = percent(self._score.mean, self._score.std if self._score.n > 1 else None)
        others = ", ".join(f"{name} {percent(value)}" for name, value in values.items() if name != "accuracy")
        gain = (
            ""
            if self._random is None
            else f", {100 * (self._score.mean - self._random.mean):+.1f} over random"
        )
        return f"{words}{gain}{', ' + others if others else ''}, {seconds}"

    def _settings(self) -> str:
        settings = (f"{key.removeprefix('distill.')}={short(value)}" for key, value in self._params.items())
        return " ".join(settings)

    def _left(self, done: float, now: float) -> str:
        """Time left of the search, in words, once a part of it is done here."""
        here = done - self._resumed
        if not self._total or here <= 0:
            return ""
        seconds = (now - self._searched) / here * (self._total - done)
        return f", {done:.1f} of {self._total} trials, about {duration(seconds)} left"

    def _say(self, text: str, *, always: bool = False) -> None:
        """A plain line where there is no terminal, if the last one is some seconds old."""
        now = time.monotonic()
        if self._plain and (always or now - self._said >= PLAIN_SECONDS):
            self._said = now
            self._console.print(text, markup=False, soft_wrap=True)

    def _drop_inner(self) -> None:
        self._drop_work()
        if self._inner is not None:
            self.bars.remove_task(self._inner)
        self._inner = None

    def _drop_work(self) -> None:
        if self._work is not None:
            self.bars.remove_task(self._work)
        self._work = None
