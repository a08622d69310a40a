"""Time one DM iteration of ours beside a plain per-class float32 loop on the same work, in one run.

Both draw the same networks, batches and augmentations from generators with the same seeds, and take steps
small enough that they go on seeing the same images. Their mean losses must then agree to one unit of the
third digit, or the script exits with 1; single losses carry the rounding of bfloat16, which has no
direction. Iterations are interleaved, so that a busy machine slows all of them. Example:

    python experiments/benchmarks/dm_iteration.py --dataset mnist --ipc 10 --iterations 5
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import Compute, ComputeConfig, compiler_available, resolve_compute
from study.core.errors import DataError, MissingDataError
from study.core.records import ImageDataset
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig, augment, draw
from study.data.splits import DataConfig, load_splits
from study.methods.base import Task
from study.methods.dm import DM, DMConfig
from study.methods.initialize import initialize
from study.methods.matching import ClassBatches
from study.models.pool import ModelConfig, build_model

IMAGE_LR = 1e-3
"""A thousandth of what DM uses, so that rounding does not send the variants along different paths."""
NUM_DIGITS = 3
REPOSITORY = Path(__file__).parents[2]


def plain_iterations(task: Task, config: DMConfig, generators: Generators) -> Iterator[float]:
    """DM as one would first write it: class after class, float32, one image tensor a class."""
    device, train = task.compute.device, task.train
    images, _ = initialize(config.init, train, task.ipc, generators["init"])
    images.requires_grad_()
    optimizer = torch.optim.SGD([images], lr=config.image_lr, momentum=config.momentum)
    batches = ClassBatches(train, config.batch_real)
    per_class = batches.labels.bincount().tolist()
    for _ in range(config.num_iterations):
        network = build_model(
            task.model, train.image_shape, train.num_classes, generators["networks"], device
        ).requires_grad_(False)
        record = draw(
            task.augmentation,
            train.num_classes,
            train.image_shape,
            generators["augmentation"],
            shared_op=False,
        )
        real = torch.split(batches.draw(generators["batches"]), per_class)
        loss = torch.zeros((), device=device)
        for label, (real_class, synthetic_class) in enumerate(zip(real, images.split(task.ipc), strict=True)):
            real_draw = torch.full((len(real_class),), label)
            synthetic_draw = torch.full((task.ipc,), label)
            real_mean = network.embed(augment(real_class, record, real_draw)).detach().mean(0)
            synthetic_mean = network.embed(augment(synthetic_class, record, synthetic_draw)).mean(0)
            loss = loss + (real_mean - synthetic_mean).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def our_iterations(task: Task, config: DMConfig, generators: Generators) -> Iterator[float]:
    """The method itself, without its starting point."""
    for progress in DM(config).distill(task, generators):
        if progress.iteration:
            yield float(progress.losses["match/loss"])


def timed(step: Callable[[], float], device: torch.device) -> tuple[float, float]:
    """Seconds of one step, the device's queue included, and what it returned."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    value = step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, value


def matmul_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations a second of one large matrix product, median of several."""
    size = 2048 if device.type == "cpu" else 8192
    left = torch.randn(size, size, device=device).to(dtype)
    seconds = [timed(lambda: (left @ left, 0.0)[1], device)[0] for _ in range(12)]
    return 2 * size**3 / statistics.median(seconds[2:])


def load_real(arguments: argparse.Namespace) -> tuple[ImageDataset, AugmentationConfig, str]:
    """Training images, their augmentation, and a word on where they come from."""
    if arguments.dataset != "random":
        roots = [arguments.data_root, os.environ.get("STUDY_DATA"), REPOSITORY.parent / "shared" / "data"]
        try:
            root = next((Path(root) for root in roots if root and Path(root).is_dir()), None)
            splits = load_splits(arguments.dataset, DataConfig(), root)
            return splits.train, splits.augmentation, arguments.dataset
        except (MissingDataError, DataError) as error:
            print(f"{arguments.dataset} is not here ({error}); random images of MNIST's shape instead")
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat_interleave(2 * arguments.batch_real)
    images = torch.randn(len(labels), 1, 28, 28, generator=generator)
    augmentation = AugmentationConfig(strategy="color_crop_cutout_scale_rotate")
    return ImageDataset(images, labels, tuple(map(str, range(10)))), augmentation, "random images"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Run all variants interleaved and collect the figures."""
    compute = resolve_compute(ComputeConfig(device=arguments.device))
    device = compute.device
    train, augmentation, source = load_real(arguments)
    model = ModelConfig(width=arguments.width, depth=arguments.depth)
    task = Task(train.to(device), arguments.ipc, model, augmentation, replace(compute, compile="off"))
    config = DMConfig(
        num_iterations=arguments.iterations + 1, image_lr=IMAGE_LR, batch_real=arguments.batch_real
    )
    variants = {
        "plain": plain_iterations(task, config, Generators(arguments.seed)),
        "uncompiled": our_iterations(task, config, Generators(arguments.seed)),
    }
    if arguments.compile and compiler_available(device):
        compiled = replace(task, compute=replace(compute, compile="on"))
        variants["compiled"] = our_iterations(compiled, config, Generators(arguments.seed))

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


def describe_machine(compute: Compute) -> dict[str, object]:
    """What the figures depend on."""
    facts: dict[str, object] = dict(compute.describe())
    cpu, flags = platform.processor() or platform.machine(), set()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
        flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    wanted = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return facts | {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "cpu_flags": [flag for flag in wanted if flag in flags],
        "load_average": os.getloadavg()[0],
        "commit": commit.stdout.strip() or "unknown",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> int:
    """Print the table, write the file, and tell by the exit code whether the losses agree."""
    arguments = parse_arguments()
    result = measure(arguments)
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


if __name__ == "__main__":
    sys.exit(main())
