"""The seeds of an evaluation beside one plain float32 network after another: same images, steps and seeds, in one run.

Claim: what a search waits for is several times shorter than the obvious loop, at equal accuracy.
Work: digits ConvNet-2 width 64 with 1 and 10 random images a class; MNIST ConvNet-3 width 128 with 10 a class
(random pixels where MNIST is absent: times only). Five seeds each, no augmentation.
The sides alternate, so that a busy machine slows all of them. Compiler time is shown apart.

    python experiments/benchmarks/evaluate_seeds.py --output experiments/results/evaluate_seeds_zen4.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine
from torch.nn import functional

from study.core.device import Compute, ComputeConfig, compiler_available, resolve_compute
from study.core.errors import MissingDataError
from study.core.files import replace_file
from study.core.records import ImageDataset, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.data.splits import DataConfig, load_splits
from study.evaluation.baselines import random_real_sets
from study.evaluation.evaluator import Evaluator
from study.evaluation.metrics import accuracy, predict
from study.evaluation.recipes import EvaluationConfig, learning_rates
from study.evaluation.training import train_networks
from study.models.pool import ModelConfig, Network, build_model


@dataclass(frozen=True)
class Workload:
    """One set, one network, a number of steps and seeds."""

    name: str
    synthetic: SyntheticSet
    train: ImageDataset
    real: ImageDataset | None
    model: ModelConfig
    num_steps: int
    num_seeds: int

    def evaluator(self, compute: Compute) -> Evaluator:
        """The search recipe, cut to this length; the real images count only for the accuracy, scored here."""
        recipe = EvaluationConfig(num_steps=self.num_steps)
        return Evaluator(
            self.train,
            self.real or self.train,
            self.model,
            recipe,
            AugmentationConfig(),
            compute,
            Generators(0),
        )


def build_workloads(data_root: Path, scale: float) -> list[Workload]:
    """The three workloads; ``scale`` shortens them all."""
    digits = load_splits("digits", DataConfig())
    workloads = [
        Workload(
            f"digits ConvNet-2 w64, {10 * ipc} images",
            random_real_sets(digits.train, ipc, 1, Generators(0))[0],
            digits.train,
            digits.validation,
            ModelConfig(width=64),
            max(2, int(200 * scale)),
            5,
        )
        for ipc in (1, 10)
    ]
    train: ImageDataset
    real: ImageDataset | None
    try:
        mnist = load_splits("mnist", DataConfig(), data_root)
        synthetic = random_real_sets(mnist.train, 10, 1, Generators(0))[0]
        train = mnist.train
        real = mnist.validation.subset(torch.arange(0, len(mnist.validation), 6))
    except MissingDataError:
        images = torch.randn(100, 1, 28, 28, generator=Generators(0)["images"])
        labels = torch.arange(10).repeat_interleave(10)
        synthetic, real = SyntheticSet(images, labels, tuple("0123456789")), None
        train = ImageDataset(images, labels, synthetic.class_names)
    steps = max(2, int(60 * scale))
    name = "MNIST ConvNet-3 w128, 100 images" + ("" if real else " (random pixels)")
    return [*workloads, Workload(name, synthetic, train, real, ModelConfig(), steps, 5)]


def run_plain(work: Workload, compute: Compute) -> tuple[float, list[float]]:
    """Seconds a step and seed, and accuracies, of one network after the other in plain float32."""
    images, labels = work.synthetic.images.to(compute.device), work.synthetic.labels.to(compute.device)
    plain = Compute(compute.device)
    seconds, accuracies = 0.0, []
    evaluator = work.evaluator(compute)
    recipe = evaluator.config.resolve()
    for seed in evaluator.seeds(work.num_seeds):
        network = build_model(work.model, tuple(images.shape[1:]), 10, seed["init"], compute.device)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        started = clock(compute)
        for rate in learning_rates(recipe, len(images), recipe.lr):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
        seconds += clock(compute) - started
        accuracies += score(work, network.eval(), plain)
    return seconds / (work.num_steps * work.num_seeds), accuracies


def run_ours(work: Workload, compute: Compute) -> tuple[float, list[float]]:
    """Seconds a step and seed, and accuracies, of the evaluator's own training."""
    evaluator = work.evaluator(compute)
    job = evaluator.job(work.synthetic)
    seconds, accuracies = 0.0, []
    started = clock(compute)
    for network in train_networks(job, evaluator.seeds(work.num_seeds)):
        seconds += clock(compute) - started
        accuracies += score(work, network, compute)
        started = clock(compute)
    return seconds / (work.num_steps * work.num_seeds), accuracies


def score(work: Workload, network: Network, compute: Compute) -> list[float]:
    """Accuracy on the held-out images, or nothing where there are none."""
    if work.real is None:
        return []
    real = work.real.to(compute.device)
    return [accuracy(predict(network, real.images, compute), real.labels)]


def clock(compute: Compute) -> float:
    """Wall time with all queued work done."""
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter()


def measure(work: Workload, compute: Compute, rounds: int, compile_too: bool) -> dict[str, Any]:
    """Both sides in alternation, medians over rounds, as plain values."""
    kinds = {"uncompiled": dataclasses.replace(compute, compile="off")}
    if compile_too:
        kinds["compiled"] = dataclasses.replace(compute, compile="on")
    short = dataclasses.replace(work, num_steps=2)
    run_plain(short, compute)
    compiler_seconds = {}
    for kind, how in kinds.items():
        started = clock(compute)
        run_ours(short, how)
        compiler_seconds[kind] = clock(compute) - started
    times: dict[str, list[float]] = {"plain": [], **{kind: [] for kind in kinds}}
    accuracies: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds, accuracies["plain"] = run_plain(work, compute)
        times["plain"].append(seconds)
        for kind, how in kinds.items():
            seconds, accuracies[kind] = run_ours(work, how)
            times[kind].append(seconds)
    step = {kind: statistics.median(values) for kind, values in times.items()}
    return {
        "workload": work.name,
        "num_steps": work.num_steps,
        "num_seeds": work.num_seeds,
        "rounds": rounds,
        "step_seconds": step,
        "all_step_seconds": times,
        "ratio": {kind: step["plain"] / step[kind] for kind in kinds},
        "accuracy": {kind: summary(values) for kind, values in accuracies.items() if values},
        "first_call_seconds": compiler_seconds,
    }


def summary(accuracies: list[float]) -> dict[str, float]:
    """Mean and deviation (ddof 1) over seeds."""
    return {"mean": statistics.fmean(accuracies), "std": statistics.stdev(accuracies), "n": len(accuracies)}


def show(result: dict[str, Any]) -> None:
    """One line a side."""
    print(result["workload"])
    for kind, seconds in result["step_seconds"].items():
        ratio = "" if kind == "plain" else f"  {result['ratio'][kind]:.2f}x plain"
        found = result["accuracy"].get(kind)
        accuracy_text = f"  accuracy {found['mean']:.4f} ± {found['std']:.4f}" if found else ""
        print(f"  {kind:<11}{1e3 * seconds:9.2f} ms a step and seed{ratio}{accuracy_text}")


def main() -> None:
    """Measure every workload and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument(
        "--data-root", type=Path, default=Path(os.environ.get("STUDY_DATA") or "../shared/data")
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--threads", type=int, help="CPU threads; 1 gives the steadiest figures on a busy machine"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps to run")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    compute = resolve_compute(ComputeConfig(device=options.device, num_threads=options.threads))
    compile_too = not options.no_compile and compiler_available(compute.device)
    results = []
    for work in build_workloads(options.data_root, options.scale):
        results.append(measure(work, compute, options.rounds, compile_too))
        show(results[-1])
    if options.output is not None:
        report = {"machine": describe_machine(compute), "results": results}
        with replace_file(options.output) as path:
            path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
