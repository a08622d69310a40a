"""The expert sets that a search trains under a limit of the cache: its schedules replayed, with and without holding.

A schedule is a value of PAD's ``distill.schedule.initial_fraction``; each needs experts of its own. The recipe's own
comes first, as in a search, and the others are drawn from its space. Experts are those of the budget, in an empty cache
whose limit is a multiple of one set. Beside that it counts what a set takes for CIFAR-10 in ``paper``.

    python experiments/benchmarks/expert_cache.py --trials 20 --output experiments/results/expert_cache.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import describe_machine

from study.core.device import Compute
from study.core.records import ImageDataset
from study.core.spaces import Range
from study.data.augment import AugmentationConfig
from study.methods.base import Task, find_method
from study.methods.experts.file import Kept
from study.methods.experts.store import holding
from study.models.flat_params import num_parameters
from study.runs.config.configure import Request, RunConfig, configure
from study.runs.context.run_context import RunContext, open_context
from study.runs.trials.preparations import cache_shortage

KEY = "distill.schedule.initial_fraction"


class DiskWatch(threading.Thread):
    """Follows the bytes of a folder's files.

    Attributes:
        peak: the most there were at once.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._folder, self._over = folder, threading.Event()

    def run(self) -> None:
        """Look until :meth:`stop`."""
        while not self._over.wait(0.002):
            self.look()

    def look(self) -> None:
        """Count once."""
        total = 0
        for place, _, names in os.walk(self._folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # removed this moment
                    total += os.path.getsize(os.path.join(place, name))
        self.peak = max(self.peak, total)

    def stop(self) -> int:
        """The peak."""
        self._over.set()
        self.join()
        self.look()
        return self.peak


def draw_schedules(config: RunConfig, num_trials: int, seed: int) -> list[float]:
    """The recipe's own schedule, then others at random."""
    grid = config.space[KEY]
    assert isinstance(grid, Range)
    assert grid.step is not None
    values = [grid.low + step * grid.step for step in range(1 + round((grid.high - grid.low) / grid.step))]
    drawn = np.random.default_rng(seed).choice(values, num_trials - 1).tolist()
    return [float(config.first_trial()[KEY]), *drawn]


def replay(config: RunConfig, context: RunContext, schedules: list[float], *, held: bool) -> dict[str, Any]:
    """Prepare one trial after the other in an empty cache; what was trained, and the disk it took."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STUDY_CACHE"] = folder
        watch = DiskWatch(Path(folder) / "experts")
        watch.start()
        built = []
        with holding() if held else contextlib.nullcontext():
            for schedule in schedules:
                trial = config.with_params({KEY: schedule})
                method = find_method(trial.method)(trial.distill, trial.space)
                facts = method.prepare(context.task(trial), context.distill_generators()).facts
                built.append(int(facts["built"] > 0))
        peak = watch.stop()
        watch.peak = 0
        watch.look()
    return {
        "sets_trained": sum(built),
        "trained_by_trial": built,
        "disk_peak_bytes": peak,
        "bytes_after": watch.peak,
    }


def count_paper() -> dict[str, dict[str, int]]:
    """By IPC the bytes of a set of PAD's experts for CIFAR-10: of the snapshots kept, and of every epoch."""
    counted = {}
    for ipc in (1, 10, 50):
        config = configure(Request("pad", "cifar10", ipc=ipc, budget="paper"))
        method = find_method(config.method)(config.distill, config.space)
        images = ImageDataset(torch.zeros(10, 3, 32, 32), torch.arange(10), tuple(map(str, range(10))))
        task = Task(images, ipc, config.model, AugmentationConfig(), Compute(torch.device("cpu")))
        experts = method.expert_config
        every = Kept(num_parameters(task.network()), experts.num_epochs, experts.num_epochs)
        counted[str(ipc)] = {
            "kept_epochs": method.last_epoch,
            "set_bytes": method.prepared_bytes(task),
            "every_epoch_bytes": experts.num_experts * every.num_bytes,
        }
    return counted


def main() -> None:
    """Replay both ways; print and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--budget", default="smoke")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--sets", type=float, default=1.2, help="limit of the cache, in sets of experts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    counts = {"search": {"num_trials": options.trials}}
    config = configure(Request("pad", options.dataset, budget=options.budget, overrides=counts))
    context = open_context(config, options.data_root)
    method = find_method(config.method)(config.distill, config.space)
    set_bytes = method.prepared_bytes(context.task(config))
    os.environ["STUDY_CACHE_GB"] = repr(options.sets * set_bytes / 1e9)
    schedules = draw_schedules(config, options.trials, options.seed)
    result = {
        "what": "expert sets that a search of PAD trains under a limit of the cache",
        "dataset": options.dataset,
        "budget": options.budget,
        "schedules": schedules,
        "num_schedules": len(set(schedules)),
        "set_bytes": set_bytes,
        "limit_bytes": int(options.sets * set_bytes),
        "warning": cache_shortage(config, context),
        "held": replay(config, context, schedules, held=True),
        "not_held": replay(config, context, schedules, held=False),
        "paper_cifar10_by_ipc": count_paper(),
        "machine": describe_machine(context.compute),
    }
    for name in ("held", "not_held"):
        side = result[name]
        print(
            f"{name}: {side['sets_trained']} sets trained for {result['num_schedules']} schedules in "
            f"{len(schedules)} trials; disk peak {side['disk_peak_bytes'] / set_bytes:.2f} sets, "
            f"{side['bytes_after'] / set_bytes:.2f} afterwards, limit {options.sets:g}"
        )
    for ipc, counted in result["paper_cifar10_by_ipc"].items():
        print(
            f"paper, CIFAR-10, {ipc} a class: a set keeps epochs 0 to {counted['kept_epochs']} and the last, "
            f"{counted['set_bytes'] / 1e9:.1f} GB of {counted['every_epoch_bytes'] / 1e9:.1f}"
        )
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
