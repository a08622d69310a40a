"""Training the experts that an entry of the cache lacks: a few threads, taking turns with other processes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch
from filelock import Timeout

from study.core.reporting import advance, work
from study.core.seeding import Generators
from study.methods.base import Task
from study.methods.experts.config import EpochOrder, ExpertConfig
from study.methods.experts.entry import ExpertEntry
from study.methods.experts.file import Kept
from study.methods.experts.training import ExpertRecorder

POLL_SECONDS = 0.2


class _Stopped(Exception):
    """Another worker failed, or the user interrupted."""


@dataclass(eq=False)
class ExpertBuild:
    """Trains the missing experts of an entry."""

    task: Task
    config: ExpertConfig
    order: EpochOrder
    generators: Generators
    entry: ExpertEntry
    wanted: Kept
    missing: Mapping[int, int]
    """Experts, with the epochs that each has to be trained for."""
    meta: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._waiting = deque(self.missing)
        self._total = sum(self.missing.values())
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._done_epochs = self._num_built = 0

    def run(self, num_workers: int) -> int:
        """Build until nothing is missing; gives how many were trained here."""
        num_workers = min(num_workers, len(self._waiting))
        num_threads = torch.get_num_threads()
        try:
            with (
                work("training experts", self._total),
                ThreadPoolExecutor(num_workers, thread_name_prefix="expert") as pool,
            ):
                workers = [pool.submit(self._work) for _ in range(num_workers)]
                try:
                    self._watch(workers)
                finally:
                    self._stop.set()
        finally:
            # What a worker sets for itself becomes the default of threads that are started later.
            torch.set_num_threads(num_threads)
        return self._num_built

    def _watch(self, workers: Sequence[Future[None]]) -> None:
        counted, running = 0, set(workers)
        while running:
            done, running = wait(running, POLL_SECONDS, return_when=FIRST_EXCEPTION)
            if (num_epochs := self._done_epochs) > counted:
                advance(num_epochs - counted)
                counted = num_epochs
            for worker in done:
                worker.result()

    def _work(self) -> None:
        if self.task.compute.device.type == "cpu":
            torch.set_num_threads(1)
        recorder = ExpertRecorder(self.task, self.config, self.order, self.generators)
        while (expert := self._next()) is not None:
            if not self._build(recorder, expert):
                self._waiting.append(expert)
                if self._stop.wait(POLL_SECONDS):
                    return

    def _next(self) -> int | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting and not self._stop.is_set() else None

    def _build(self, recorder: ExpertRecorder, expert: int) -> bool:
        """Train and store one expert; False where another process is at it."""
        try:
            with self.entry.building(expert).acquire(timeout=0):
                known = self.entry.read(expert, self.wanted, warn=False)
                if known is not None and known.kept.serves(self.wanted):
                    self._count(self.missing[expert])  # another process was quicker
                    return True
                done = recorder.record(
                    expert, lambda: self._count(1), self._check, last=self.wanted.last, known=known
                )
                self.entry.write(
                    expert, done.snapshots, done.train_accuracy, done.seconds, self.wanted.num_epochs
                )
        except Timeout:
            return False
        except _Stopped:
            return True
        with self._lock:
            self._num_built += 1
        self.entry.describe(self.meta)
        return True

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _count(self, num_epochs: int) -> None:
        with self._lock:
            self._done_epochs += num_epochs
