"""The harness of benchmarks that time one iteration of a method beside a plain loop on the same work.

Both draw the same networks, batches and augmentations from generators with the same seeds, and take steps
small enough that they go on seeing the same images. Their mean losses must then agree to one unit of the
third digit, or the script exits with 1; single losses carry the rounding of bfloat16, which has no
direction. Iterations are interleaved, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine, load_real, matmul_rate, timed
from plain_matching import ClassLoss, plain_iterations
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import ComputeConfig, compiler_available, resolve_compute
from study.core.seeding import Generators
from study.methods.base import Method, Task
from study.models.pool import ModelConfig

__all__ = ["Benchmark", "main"]

NUM_DIGITS = 3


@dataclass(frozen=True)
class Benchmark:
    """One method and its plain twin.

    Attributes:
        method: ours.
        configure: its settings from a number of iterations and real images a class, with a learning rate
            so small that rounding does not send the variants along different paths.
        class_loss: what its plain twin lowers, class by class.
        compiles: whether ours has a compiled variant.
    """

    method: type[Method]
    configure: Callable[[int, int], Any]
    class_loss: ClassLoss
    compiles: bool = True


def our_iterations(benchmark: Benchmark, task: Task, config: Any, generators: Generators) -> Iterator[float]:
    """The method itself, without its starting point."""
    for progress in benchmark.method(config).distill(task, generators):
        if progress.iteration:
            yield float(progress.losses["match/loss"])


def parse_arguments(description: str) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=["mnist", "digits", "random"], default="mnist")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--batch-real", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--iterations", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def measure(benchmark: Benchmark, arguments: argparse.Namespace) -> dict[str, object]:
    """Run all variants interleaved and collect the figures."""
    compute = resolve_compute(ComputeConfig(device=arguments.device))
    device = compute.device
    train, augmentation, source = load_real(arguments)
    model = ModelConfig(width=arguments.width, depth=arguments.depth)
    task = Task(train.to(device), arguments.ipc, model, augmentation, replace(compute, compile="off"))
    config = benchmark.configure(arguments.iterations + 1, arguments.batch_real)
    plain = plain_iterations(benchmark.class_loss, task, config, Generators(arguments.seed))
    variants: dict[str, Iterator[float]] = {
        "plain": (loss for loss, _ in plain),
        "uncompiled": our_iterations(benchmark, task, config, Generators(arguments.seed)),
    }
    if benchmark.compiles and arguments.compile and compiler_available(device):
        compiled = replace(task, compute=replace(compute, compile="on"))
        variants["compiled"] = our_iterations(benchmark, compiled, config, Generators(arguments.seed))

    rates = {
        "float32": matmul_rate(torch.float32, device),
        "bfloat16": matmul_rate(torch.bfloat16, device),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    losses: dict[str, list[float]] = {name: [] for name in variants}
    with FlopCounterMode(display=False) as counter:
        losses["plain"].append(next(variants["plain"]))
    warm_up = {name: timed(steps.__next__, device) for name, steps in variants.items() if name != "plain"}
    for name, (_, loss) in warm_up.items():
        losses[name].append(loss)
    for _ in range(arguments.iterations):
        for name, steps in variants.items():
            spent, loss = timed(steps.__next__, device)
            seconds[name].append(spent)
            losses[name].append(loss)
    return {
        "work": {
            "images": source,
            "image_shape": list(train.image_shape),
            "classes": train.num_classes,
            "ipc": arguments.ipc,
            "batch_real": arguments.batch_real,
            "width": arguments.width,
            "depth": arguments.depth or "default",
            "flops": counter.get_total_flops(),
        },
        "seconds": seconds,
        "losses": losses,
        "first_iteration_seconds": {name: spent for name, (spent, _) in warm_up.items()},
        "matmul_flops_per_second": rates,
        "machine": describe_machine(compute),
    }


def summarise(result: dict[str, object]) -> dict[str, object]:
    """Medians, ratios, shares of the matrix-product rate, and how far the losses are apart."""
    seconds, losses = result["seconds"], result["losses"]
    rates, work, machine = result["matmul_flops_per_second"], result["work"], result["machine"]
    assert isinstance(seconds, dict)
    assert isinstance(losses, dict)
    assert isinstance(rates, dict)
    assert isinstance(work, dict)
    assert isinstance(machine, dict)
    rows = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        precision = "float32" if name == "plain" else machine["precision"]
        apart = [abs(a - b) / b for a, b in zip(losses[name], losses["plain"], strict=True)]
        rows[name] = {
            "precision": precision,
            "median_seconds": median,
            "fastest_seconds": min(values),
            "times_plain": statistics.median(seconds["plain"]) / median,
            "times_plain_fastest": min(seconds["plain"]) / min(values),
            "share_of_matmul_rate": work["flops"] / median / rates[precision],
            "largest_relative_loss_difference": max(apart),
            "mean_loss": statistics.mean(losses[name]),
            "losses_agree": agree(statistics.mean(losses[name]), statistics.mean(losses["plain"])),
        }
    return rows


def agree(loss: float, reference: float) -> bool:
    """Whether two losses differ by at most one unit of the third digit."""
    unit = 10.0 ** (math.floor(math.log10(reference)) - (NUM_DIGITS - 1))
    return abs(loss - reference) <= unit


def main(benchmark: Benchmark, description: str) -> int:
    """Print the table, write the file, and tell by the exit code whether the losses agree."""
    arguments = parse_arguments(description)
    result = measure(benchmark, arguments)
    result["summary"] = rows = summarise(result)
    print(json.dumps({"work": result["work"], "machine": result["machine"]}, indent=1))
    for name, rate in result["matmul_flops_per_second"].items():  # type: ignore[attr-defined]
        print(f"matrix product {name}: {rate / 1e9:.0f} GFLOP/s")
    print(f"{'':12}{'ms':>10}{'x plain':>9}{'of matmul':>11}{'mean loss':>13}{'loss apart':>12}")
    for name, row in rows.items():
        assert isinstance(row, dict)
        apart = row["largest_relative_loss_difference"]
        print(
            f"{name:12}{1e3 * row['median_seconds']:10.1f}{row['times_plain']:9.2f}"
            f"{row['share_of_matmul_rate']:11.0%}{row['mean_loss']:13.4f}{apart:12.1e}"
        )
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    if all(row["losses_agree"] for row in rows.values()):  # type: ignore[index]
        return 0
    print(f"the losses do not agree to {NUM_DIGITS} digits", file=sys.stderr)
    return 1
