"""Progress in the terminal: trial, iteration, rate, time left, best so far; silent where nobody looks."""

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
from study.cli.common import EXIT_INTERRUPTED, err
from study.core.reporting import listening
from study.core.signals import terminate_like_interrupt

if TYPE_CHECKING:
    from study import Score

REFRESH_SECONDS = 0.1


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
    """Draws bars on standard error, or prints nothing but warnings when it is no terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = err()
        self._live = self._console.is_terminal and not quiet
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
        self._best_name = "best val"
        self._drawn = 0.0

    def on_phase(self, text: str) -> None:
        """One dim line a stage."""
        if self._live:
            self._console.print(f"[dim]{text}[/dim]")

    def on_search(self, name: str, num_trials: int, num_finished: int) -> None:
        """The upper bar counts trials."""
        self.search = name
        self._trials = self.bars.add_task(name, total=num_trials, completed=num_finished, note="")

    def on_trial_start(self, number: int, params: Mapping[str, Any], num_iterations: int) -> None:
        """The lower bar counts iterations of this trial."""
        self._drop_inner()
        total = max(1, num_iterations)
        self._inner = self.bars.add_task(f"trial {number}", total=total, note="")

    def on_work(self, what: str, done: float, total: int) -> None:
        """A bar below the others, until the work is done."""
        if done >= total or what != self._work_name:
            self._drop_work()
        if done >= total:
            return
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

    def on_score(self, iteration: int, score: Score) -> None:
        """The latest validation score beside the lower bar."""
        if self._inner is not None:
            self.bars.update(self._inner, completed=iteration, note=f"val {score.mean:.3f} ±{score.std:.3f}")

    def on_trial_end(self, number: int, outcome: str, values: Mapping[str, float]) -> None:
        """A line for the finished trial; the best so far beside the upper bar."""
        self._drop_inner()
        if values:
            self._best = max(statistics.fmean(values.values()), self._best or 0.0)
            self._best_name = "best mean" if len(values) > 1 else "best val"
        if self._trials is not None:
            best = f"{self._best_name} {self._best:.3f}" if self._best is not None else ""
            self.bars.update(self._trials, advance=int(outcome != "INTERRUPTED"), note=best)
        if self._live:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items()) or outcome.lower()
            self._console.print(f"trial {number:>3}  {shown}", style="dim")

    def on_warning(self, text: str) -> None:
        """Always shown."""
        self._console.print(f"[yellow]Warning:[/yellow] {text}")

    def _drop_inner(self) -> None:
        self._drop_work()
        if self._inner is not None:
            self.bars.remove_task(self._inner)
        self._inner = None

    def _drop_work(self) -> None:
        if self._work is not None:
            self.bars.remove_task(self._work)
        self._work = None
