"""Counted work beside the clock: how far off the nominal rates are by which budgets choose their sizes.

Claim: for every loop the median of seconds measured on two CPU cores is within a quarter of those expected from steps,
FLOPs and elements, whatever width, image size and number of images; the extremes are printed beside it.
Work: evaluation steps, features (DM), student steps (PAD on untrained experts), experts and prediction, on random
pixels of the shapes of digits, MNIST, CIFAR-10 and 64 x 64 in colour; nothing is compiled.

    python experiments/benchmarks/nominal_rates.py --output experiments/results/nominal_rates.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine

from study.core.config import build
from study.core.device import Compute, ComputeConfig, resolve_compute
from study.core.files import replace_file
from study.core.records import ImageDataset, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.evaluator import Evaluator
from study.evaluation.metrics import predict
from study.evaluation.recipes import EvaluationConfig
from study.evaluation.training import train_networks
from study.methods.base import Task, find_method
from study.methods.experts.config import ExpertConfig, WholeSet
from study.methods.experts.training import ExpertRecorder
from study.models.pool import ModelConfig
from study.models.work import Loads, Loop, expected_seconds

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))
AUGMENTATION = AugmentationConfig(strategy="color_crop_cutout_flip_scale_rotate")
NUM_CLASSES = 10
NUM_REAL = 1280
STEPS = 10


def make_task(shape: tuple[int, int, int], width: int, ipc: int, compute: Compute) -> Task:
    """Random pixels of ten classes."""
    labels = torch.arange(NUM_REAL) % NUM_CLASSES
    images = torch.randn(NUM_REAL, *shape, generator=torch.Generator().manual_seed(0))
    train = ImageDataset(images, labels, tuple(map(str, range(NUM_CLASSES))))
    return Task(train, ipc, ModelConfig(width=width), AUGMENTATION, compute)


def train_some(task: Task) -> tuple[Loads, float]:
    """Evaluation steps on the first images of every class."""
    chosen = task.train.subset(torch.arange(NUM_CLASSES * task.ipc))
    synthetic = SyntheticSet(chosen.images, chosen.labels, chosen.class_names)
    evaluator = Evaluator(
        task.train, task.train, task.model, EvaluationConfig(num_steps=STEPS, augment=True), AUGMENTATION,
        task.compute, Generators(0),
    )  # fmt: skip
    job = evaluator.job(synthetic)
    return {"evaluation": job.load}, best_of(lambda: list(train_networks(job, evaluator.seeds(1))))


def iterate(task: Task, name: str, settings: dict[str, Any]) -> tuple[Loads, float]:
    """One iteration of a method after a first one."""
    kind = find_method(name)
    method = kind(build(kind.Config, settings))
    times, began = [], None
    for progress in method.rehearse(task, Generators(0)):
        if began is not None:
            times.append(time.perf_counter() - began)
        if progress.iteration > 3:
            break
        began = time.perf_counter()
    return method.iteration_loads(task.size), statistics.median(times[1:])


def train_expert(task: Task) -> tuple[Loads, float]:
    """An epoch of one expert by one thread, in the time that all threads would share."""
    config = ExpertConfig(num_experts=1, num_epochs=1, batch_size=128)
    recorder = ExpertRecorder(task, config, WholeSet(), Generators(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = best_of(lambda: recorder.record(0))
    finally:
        torch.set_num_threads(threads)
    loads = {"experts": config.load(task.size.work, NUM_REAL)}
    return loads, seconds / threads


def classify(task: Task) -> tuple[Loads, float]:
    """Forward passes of all real images."""
    network = task.network()
    seconds = best_of(lambda: predict(network, task.train.images, task.compute))
    return {"prediction": task.size.work.prediction(NUM_REAL)}, seconds


def best_of(run: Callable[[], object], turns: int = 3) -> float:
    """Seconds of the quickest of a few turns."""
    seconds = []
    for _ in range(turns):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(compute: Compute, widths: list[int], sides: list[int]) -> Iterator[dict[str, Any]]:
    """A row for every loop, shape, width and number of images."""
    for shape in (shape for shape in SHAPES if shape[1] in sides):
        for width in widths:
            for ipc in (1, 10):
                task = make_task(shape, width, ipc, compute)
                student = {"num_iterations": 10, "num_student_steps": 5, "step_size": 0.01}
                done = {
                    "evaluation": train_some(task),
                    "features": iterate(task, "dm", {"num_iterations": 10, "batch_real": 64}),
                    "student": iterate(task, "mtt", student),
                }
                if ipc == 1:
                    done |= {"experts": train_expert(task), "prediction": classify(task)}
                for loop, (loads, seconds) in done.items():
                    expected = sum(expected_seconds(name, compute, load) for name, load in loads.items())
                    yield {"loop": loop, "shape": shape, "width": width, "ipc": ipc, "seconds": seconds,
                           "expected": expected, "ratio": seconds / expected}  # fmt: skip


def summarise(rows: list[dict[str, Any]]) -> dict[Loop, dict[str, float]]:
    """Median and extremes of measured over expected, by loop."""
    found: dict[Loop, dict[str, float]] = {}
    for loop in dict.fromkeys(row["loop"] for row in rows):
        ratios = [row["ratio"] for row in rows if row["loop"] == loop]
        found[loop] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return found


def main() -> None:
    """Measure everything, print it, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--sides", type=int, nargs="+", default=[shape[1] for shape in SHAPES])
    options = parser.parse_args()
    compute = dataclasses.replace(resolve_compute(ComputeConfig()), compile="off")
    rows = []
    for row in measure(compute, options.widths, options.sides):
        rows.append(row)
        print(
            f"{row['loop']:<11}{'x'.join(map(str, row['shape'])):>9} width {row['width']:>3} ipc {row['ipc']:>2}"
            f"{1e3 * row['seconds']:10.2f} ms, expected {1e3 * row['expected']:9.2f}  x{row['ratio']:.2f}",
            flush=True,
        )
    summary = summarise(rows)
    for loop, ratios in summary.items():
        print(f"{loop:<11} measured / expected: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    if options.output is not None:
        report = {"machine": describe_machine(compute), "summary": summary, "rows": rows}
        with replace_file(options.output) as path:
            path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
