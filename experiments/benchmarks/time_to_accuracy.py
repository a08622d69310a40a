r"""Seconds of distilling until a set reaches a validation accuracy: ours beside the obvious loop, in one run.

``plain`` is ``plain_matching.py``: float32, uncompiled, class after class, a new network every update, at the
settings of the budget ``paper``. Each variant of ours has the settings of ``quick``, and what the command line
lays over them. All sides take turns of a few seconds, so that a busy machine slows them alike. At a geometric
grid of iterations every set is scored off the clock by one protocol: the same networks for all sides, on the
validation images (accuracy, or balanced accuracy where classes are unbalanced). A side counts as having reached
a target at its first score that is not below it; one that never does has a lower bound of its time, not a time.

    python experiments/benchmarks/time_to_accuracy.py --method dm --dataset mnist --ipc 10 --targets 0.95 0.96 \
        --ours quick --ours small:distill.batch_real=32,distill.image_lr=10 --output figures.json
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datadam_iteration
import dm_iteration
import torch
from measuring import REPOSITORY, describe_machine
from plain_matching import ClassLoss, plain_iterations

from study.core.config import merge, parse_overrides
from study.core.device import ComputeConfig, resolve_compute
from study.core.errors import ConfigError, DivergedError, StudyError
from study.core.files import replace_file
from study.core.records import Score, SyntheticSet
from study.core.seeding import Generators
from study.data.splits import DataSplits, load_splits
from study.evaluation.evaluator import Evaluator
from study.evaluation.recipes import EvaluationConfig
from study.methods.base import Task, find_method
from study.models.pool import ModelConfig
from study.runs.config.configure import Request, RunConfig, configure

CLASS_LOSSES: dict[str, ClassLoss] = {"dm": dm_iteration.class_loss, "datadam": datadam_iteration.class_loss}
"""What the plain loop lowers, by method."""

Steps = Iterator[tuple[int, Callable[[], SyntheticSet]]]
"""Iterations done so far, and what copies the set that they led to."""


@dataclass
class Side:
    """One contestant of one repetition.

    Attributes:
        seconds: of distilling so far.
        curve: iteration, seconds and score at each point of the grid.
        stopped: why it stopped; empty while it goes on.
    """

    steps: Steps
    grid: list[int]
    seconds: float = 0.0
    iteration: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""

    def advance(self, limit: float, device: torch.device) -> SyntheticSet | None:
        """Distil for that many seconds, at least once, or up to the next point of the grid, whose set is given."""
        started, end = time.perf_counter(), self.seconds + limit
        already, found = self.seconds, None
        while self.seconds < end and found is None and not self.stopped:
            try:
                self.iteration, snapshot = next(self.steps)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
            except StopIteration:
                self.stopped = f"no more than {self.iteration} iterations were asked for"
            except DivergedError as error:
                self.stopped = f"diverged: {error}"
            self.seconds = already + time.perf_counter() - started
            if not self.stopped and self.iteration in self.grid:
                found = snapshot()
        return found

    def enter(self, score: Score) -> None:
        """Keep the score of the set of this iteration."""
        point = {"iteration": self.iteration, "seconds": self.seconds, "mean": score.mean, "std": score.std}
        self.curve.append(point)

    def reached(self, target: float) -> dict[str, Any] | None:
        """The first point that is not below the target."""
        return next((point for point in self.curve if point["mean"] >= target), None)


def our_steps(config: RunConfig, task: Task, generators: Generators) -> Steps:
    """The method as it is."""
    for progress in find_method(config.method)(config.distill).distill(task, generators):
        yield progress.iteration, progress.snapshot


def plain_steps(config: RunConfig, task: Task, generators: Generators) -> Steps:
    """The obvious loop, whose start is not reported."""
    names, labels = task.train.class_names, torch.arange(task.train.num_classes).repeat_interleave(task.ipc)
    loop = plain_iterations(CLASS_LOSSES[config.method], task, config.distill, generators)
    for iteration, (_, images) in enumerate(loop, 1):
        yield iteration, lambda images=images: SyntheticSet(images.detach().clone(), labels.clone(), names)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--method", choices=sorted(CLASS_LOSSES), default="dm")
    add("--dataset", default="mnist")
    add("--data-root", type=Path, default=REPOSITORY.parent / "shared" / "data")
    add("--ipc", type=int, default=10)
    add("--targets", type=float, nargs="+", default=[0.95, 0.96], help="validation scores, as fractions")
    add("--ours", action="append", metavar="NAME[:KEY=VALUE,...]", help="a variant; repeatable")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="for every variant of ours")
    add("--plain", action="append", default=[], metavar="KEY=VALUE", help="for the plain loop")
    add("--no-plain", action="store_true", help="compare variants of ours only")
    add("--repetitions", type=int, default=3, help="seeds of distilling")
    add("--limit-seconds", type=float, default=600.0, help="of distilling, for each side of a repetition")
    add("--max-iterations", type=int, default=20_000)
    add("--slice-seconds", type=float, default=2.0, help="of distilling before the next side's turn")
    add("--first", type=int, default=10, help="iteration of the first score")
    add("--growth", type=float, default=1.25, help="from one scored iteration to the next")
    add("--score-width", type=int, default=32, help="of the networks that score")
    add("--score-networks", type=int, default=2)
    add("--score-steps", type=int, default=200)
    add("--device", default="auto")
    add("--compile", action="store_true", help="compile ours; the compiler's time counts")
    add("--seed", type=int, default=0)
    add("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if arguments.growth <= 1:
        parser.error(f"--growth {arguments.growth}: must be above 1")
    return arguments


def configurations(arguments: argparse.Namespace) -> dict[str, RunConfig]:
    """The settings of every side by its name, ``plain`` first."""
    length = {"distill": {"num_iterations": arguments.max_iterations}}

    def resolve(budget: str, words: Sequence[str]) -> RunConfig:
        overrides = merge(parse_overrides(words), length)
        request = Request(
            arguments.method, arguments.dataset, arguments.ipc, budget, arguments.seed, overrides
        )
        return configure(request)

    sides = {} if arguments.no_plain else {"plain": resolve("paper", arguments.plain)}
    for text in arguments.ours or ["ours"]:
        name, _, words = text.partition(":")
        if name in sides or not name:
            raise ConfigError(
                f"--ours {text!r}: every side needs a name of its own; taken: {', '.join(sides)}"
            )
        sides[name] = resolve("quick", [*arguments.set, *filter(None, words.split(","))])
    return sides


def geometric_grid(first: int, growth: float, last: int) -> list[int]:
    """Iterations to score at: the start, ``first``, and each ``growth`` times the one before, in whole numbers.

    >>> geometric_grid(4, 1.5, 20)
    [0, 4, 6, 9, 14]
    """
    grid, point = [0], float(first)
    while (here := math.ceil(point)) <= last:
        grid.append(here)
        point = max(point * growth, here + 1)
    return grid


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All repetitions, and what they say together."""
    sides = configurations(arguments)
    data = next(iter(sides.values())).data
    if any(config.data != data for config in sides.values()):
        raise ConfigError("sides see different data; give --set and --plain the same data.* settings")
    splits = load_splits(arguments.dataset, data, arguments.data_root)
    compute = resolve_compute(
        ComputeConfig(device=arguments.device, compile="on" if arguments.compile else "off")
    )
    recipe = EvaluationConfig(
        preset="quick", augment=True, num_steps=arguments.score_steps, num_seeds=arguments.score_networks
    )
    model = ModelConfig(width=arguments.score_width)
    scoring = Evaluator(
        splits.train.to(compute.device), splits.validation, model, recipe, splits.augmentation,
        replace(compute, compile="off"), Generators(arguments.seed),
    )  # fmt: skip
    machine = describe_machine(compute)
    repetitions = []
    for number in range(arguments.repetitions):
        evaluator = scoring.reseeded("repetition", number)
        repetitions.append(repeat(arguments, sides, splits, evaluator, number))
    random = scoring.random(arguments.ipc, arguments.score_networks)
    return {
        "work": {
            "method": arguments.method, "dataset": arguments.dataset, "ipc": arguments.ipc,
            "image_shape": list(splits.train.image_shape), "train_images": len(splits.train),
            "limit_seconds": arguments.limit_seconds, "slice_seconds": arguments.slice_seconds,
            "first": arguments.first, "growth": arguments.growth, "seed": arguments.seed,
        },
        "protocol": {
            "images": "validation", "number": len(splits.validation), "metric": random.metric,
            "networks": arguments.score_networks, "model": model.model_dump(mode="json"),
            "recipe": recipe.resolve().model_dump(mode="json"),
        },
        "settings": {
            name: {"model": config.model.model_dump(mode="json"), "distill": config.distill.model_dump(mode="json")}
            for name, config in sides.items()
        },
        "random": random.summary(),
        "repetitions": repetitions,
        "summary": summarise(repetitions, arguments.targets),
        "machine": machine,
    }  # fmt: skip


def repeat(
    arguments: argparse.Namespace,
    configs: Mapping[str, RunConfig],
    splits: DataSplits,
    evaluator: Evaluator,
    number: int,
) -> dict[str, Any]:
    """Let all sides take turns until each has reached every target or its limit."""
    sides = {}
    for name, config in configs.items():
        compute = replace(evaluator.compute, compile="on" if arguments.compile else "off")
        task = Task(evaluator.train, arguments.ipc, config.model, splits.augmentation, compute)
        steps = plain_steps if name == "plain" else our_steps
        grid = geometric_grid(arguments.first, arguments.growth, arguments.max_iterations)
        generators = Generators(arguments.seed).child("distill", number)
        sides[name] = Side(steps(config, task, generators), grid)
    while running := {name: side for name, side in sides.items() if not side.stopped}:
        # Whoever is furthest behind goes next, so that the same minute of the machine counts for all.
        name, side = min(running.items(), key=lambda one: one[1].seconds)
        found = side.advance(arguments.slice_seconds, evaluator.compute.device)
        if found is not None:
            side.enter(evaluator.score(found))
            print(f"repetition {number} {name:12}", *_phrase(side.curve[-1]), flush=True)
        if side.reached(max(arguments.targets)):
            side.stopped = "every target is reached"
        elif not side.stopped and side.seconds >= arguments.limit_seconds:
            side.stopped = f"{arguments.limit_seconds:g} seconds are over"
    return {
        name: {"seconds": side.seconds, "iterations": side.iteration, "stopped": side.stopped, "curve": side.curve}
        | {"reached": {str(target): side.reached(target) for target in arguments.targets}}
        for name, side in sides.items()
    }  # fmt: skip


def _phrase(point: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{point['iteration']:6} iterations",
        f"{point['seconds']:8.1f} s",
        f"{point['mean']:.4f} +- {point['std']:.4f}",
    )


def summarise(repetitions: Sequence[Mapping[str, Any]], targets: Sequence[float]) -> dict[str, Any]:
    """Median seconds and iterations to each target, and how many times sooner than plain; bounds are marked.

    Where the median repetition did not reach the target, ``seconds`` are None and ``more_than_seconds`` is what it
    spent in vain. A ratio to a plain loop that did not reach it is ``times_plain_at_least``.
    """
    summary: dict[str, Any] = {}
    for target in map(str, targets):
        rows: dict[str, dict[str, Any]] = {}
        for name in repetitions[0]:
            sides = [repetition[name] for repetition in repetitions]
            points = [side["reached"][target] for side in sides]
            spent = statistics.median_low(
                point["seconds"] if point else side["seconds"]
                for point, side in zip(points, sides, strict=True)
            )
            seconds = statistics.median(point["seconds"] if point else math.inf for point in points)
            iterations = statistics.median(point["iteration"] if point else math.inf for point in points)
            known = math.isfinite(seconds)
            rows[name] = {
                "reached": sum(point is not None for point in points),
                "of": len(points),
                "seconds": seconds if known else None,
                "iterations": iterations if known else None,
                "more_than_seconds": None if known else spent,
            }
        plain = rows.get("plain")
        for name, row in rows.items():
            if plain is not None and name != "plain" and row["seconds"] is not None:
                exact = plain["seconds"] is not None
                key = "times_plain" if exact else "times_plain_at_least"
                row[key] = (plain["seconds"] if exact else plain["more_than_seconds"]) / row["seconds"]
        summary[target] = rows
    return summary


def report(result: Mapping[str, Any]) -> None:
    """Print the table."""
    metric, random = result["protocol"]["metric"], result["random"]
    print(f"random real images: {metric} {random['mean']:.4f} +- {random['std']:.4f} (n = {random['n']})")
    for target, rows in result["summary"].items():
        print(f"{metric} {target}")
        for name, row in rows.items():
            if row["seconds"] is None:
                text = f"not reached within {row['more_than_seconds']:.0f} s"
            else:
                text = f"{row['seconds']:.1f} s, {row['iterations']:g} iterations"
            ratio = f", {row['times_plain']:.1f} x sooner than plain" if "times_plain" in row else ""
            if "times_plain_at_least" in row:
                ratio = f", at least {row['times_plain_at_least']:.1f} x sooner than plain"
            print(f"  {name:16}{row['reached']} of {row['of']}: {text}{ratio}")


def main() -> int:
    """Measure, print, write the file."""
    arguments = parse_arguments()
    try:
        result = run(arguments)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(result)
    if arguments.output:
        with replace_file(arguments.output) as path:
            path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
