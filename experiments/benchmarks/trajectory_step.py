"""Time and memory of a student's gradient: exact adjoint, TESLA's approximation and full unroll, in one run.

Claim: the adjoint gives the gradient of the full unroll at no more than 1.5 times its time, and its memory
does not grow with the number of student steps but for one parameter vector a step, which is shown apart.
Work: one student on a soft-labelled synthetic set, with augmentation, for several numbers of steps.

Variants and numbers of steps take turns, and ratios are medians of ratios within a turn. On a CPU they are
ratios of processor time, since a busy machine spoils clocks; wall time is kept too. Memory on a CPU is the
peak of all live tensors, counted; on CUDA what the allocator handed out at most. The script exits with 1
where the gradients of adjoint and unroll do not agree. Example:

    python experiments/benchmarks/trajectory_step.py --dataset mnist --ipc 1 --threads 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine, load_real, matmul_rate, timed
from torch import Tensor
from torch.nn import functional

from study.core.device import Compute, ComputeConfig, compiler_available, resolve_compute
from study.core.files import replace_file
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.methods.initialize import sample_real, synthetic_labels
from study.methods.trajectories.adjoint import StudentGradients, student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.losses import trajectory_matching_loss
from study.methods.trajectories.step_memory import LiveBytes
from study.methods.trajectories.student import plan_steps
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, Network, build_model

LARGEST_ERROR = 1e-3
"""Of the adjoint's image gradient against the unroll's, both float32."""
MAX_TIME_RATIO, MAX_GROWTH, MAX_MEMORY_SHARE = 1.5, 1.2, 0.25


@dataclass(frozen=True, eq=False)
class Workload:
    """One synthetic set, one network, one pair of start and target, and the steps' settings."""

    network: Network
    images: Tensor
    labels: Tensor
    start: Tensor
    target: Tensor
    augmentation: AugmentationConfig
    step_size: float
    chunk_size: int | None
    seed: int

    def gradients(self, variant: str, num_steps: int, program: CompiledStep | None) -> StudentGradients:
        """One student from start to gradient, always with the same augmentation."""
        generator = Generators(self.seed)["augmentation"]
        shape = self.network.image_shape
        steps = plan_steps(len(self.images), num_steps, None, self.augmentation, shape, generator)
        return student_gradients(
            self.network,
            self.images,
            self.labels,
            torch.tensor(self.step_size, device=self.images.device),
            self.start,
            steps,
            lambda end: trajectory_matching_loss(end, self.target, self.start),
            backward=variant.split()[0],  # type: ignore[arg-type]
            chunk_size=None if variant == "unroll" else self.chunk_size,
            program=program,
        )


def build_workload(arguments: argparse.Namespace, device: torch.device) -> tuple[Workload, str]:
    """Real images as the synthetic set, labels that are nearly hard, and a target some way off."""
    train, augmentation, source = load_real(arguments)
    generators = Generators(arguments.seed)
    images = train.images[sample_real(train, arguments.ipc, generators["init"])]
    hard = functional.one_hot(synthetic_labels(train, arguments.ipc), train.num_classes)
    model = ModelConfig(width=arguments.width, depth=arguments.depth)
    network = build_model(model, train.image_shape, train.num_classes, generators["networks"], device)
    start = flatten_parameters(network)
    noise = torch.randn(start.shape, generator=generators["target"]).to(device)
    work = Workload(
        network,
        images.to(device),
        4.0 * hard.float().to(device),
        start,
        start + 0.01 * noise,
        augmentation,
        arguments.step_size,
        arguments.chunk_size,
        arguments.seed,
    )
    return work, source


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Most bytes a run has in tensors at once, over what was there before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with LiveBytes() as live:
        run()
    return live.peak


def spend(run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Wall and processor seconds of a run."""
    started = time.process_time()
    wall, _ = timed(lambda: (run(), 0.0)[1], device)
    return {"wall": wall, "processor": time.process_time() - started}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare the gradients, count the memory, then time everything in turns."""
    compute = resolve_compute(
        ComputeConfig(device=arguments.device, precision="float32", num_threads=arguments.threads)
    )
    device = compute.device
    work, source = build_workload(arguments, device)
    programs: dict[str, CompiledStep | None] = {"unroll": None, "adjoint": None, "tesla": None}
    first_call: dict[str, float] = {}
    if arguments.compile and compiler_available(device):
        program = CompiledStep(work.network)
        program.compile_for(Compute(device, compile="on"), 1, arguments.chunk_size or len(work.images))
        programs["adjoint compiled"] = program
        first_call["adjoint compiled"] = spend(
            lambda: work.gradients("adjoint compiled", 1, program), device
        )["wall"]

    errors: dict[str, list[float]] = {name: [] for name in programs}
    memory: dict[str, list[int]] = {name: [] for name in programs}
    for num_steps in arguments.steps:
        exact = work.gradients("unroll", num_steps, None).images
        for name, program in programs.items():
            found: list[Tensor] = []

            def run(
                name: str = name, program: CompiledStep | None = program, found: list[Tensor] = found
            ) -> None:
                found.append(work.gradients(name, num_steps, program).images)  # noqa: B023

            # A compiled program's intermediate tensors are not torch's to count on a CPU.
            counted = device.type == "cuda" or "compiled" not in name
            if counted:
                memory[name].append(peak_bytes(run, device))
            else:
                run()
            errors[name].append(float((found[0] - exact).norm() / exact.norm()))
    seconds: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {str(num_steps): [] for num_steps in arguments.steps} for name in programs
    }
    for _ in range(arguments.rounds):
        for num_steps in arguments.steps:
            for name, program in programs.items():
                spent = spend(lambda: work.gradients(name, num_steps, program), device)  # noqa: B023
                seconds[name][str(num_steps)].append(spent)
    return {
        "work": {
            "images": source,
            "image_shape": list(work.network.image_shape),
            "synthetic_images": len(work.images),
            "width": arguments.width,
            "depth": arguments.depth or "default",
            "parameters": len(work.start),
            "chunk_size": arguments.chunk_size,
            "steps": arguments.steps,
        },
        "seconds": seconds,
        "peak_bytes": {name: values for name, values in memory.items() if values},
        "vector_bytes": len(work.start) * work.start.element_size(),
        "relative_errors_of_image_gradient": errors,
        "first_call_seconds": first_call,
        "matmul_flops_per_second": {"float32": matmul_rate(torch.float32, device)},
        "machine": describe_machine(compute),
    }


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Ratios to the full unroll, growth of memory, and which of the targets are met."""
    steps: list[int] = result["work"]["steps"]
    clock = "processor" if result["machine"]["device"] == "cpu" else "wall"
    seconds, memory, vector = result["seconds"], result["peak_bytes"], result["vector_bytes"]
    rows: dict[str, Any] = {}
    for name, runs in seconds.items():
        ratios = {
            key: statistics.median(
                mine[clock] / theirs[clock]
                for mine, theirs in zip(turns, seconds["unroll"][key], strict=True)
            )
            for key, turns in runs.items()
        }
        rows[name] = {
            "median_seconds": {
                key: statistics.median(turn[clock] for turn in turns) for key, turns in runs.items()
            },
            "times_unroll": ratios,
        }
        if name in memory:
            # The unroll keeps the vectors within its graph; there they are not counted apart.
            stored = 0 if name == "unroll" else vector
            aside = [peak - stored * num_steps for peak, num_steps in zip(memory[name], steps, strict=True)]
            rows[name] |= {
                "peak_mib": {str(n): peak / 2**20 for n, peak in zip(steps, memory[name], strict=True)},
                "peak_mib_without_vectors": {
                    str(n): part / 2**20 for n, part in zip(steps, aside, strict=True)
                },
                "growth": aside[-1] / aside[0],
                "share_of_unroll": memory[name][-1] / memory["unroll"][-1],
            }
    adjoint = rows["adjoint"]
    return {
        "clock": clock,
        "rows": rows,
        "targets": {
            f"time <= {MAX_TIME_RATIO} x unroll": max(adjoint["times_unroll"].values()) <= MAX_TIME_RATIO,
            f"memory at {steps[-1]} steps <= {MAX_GROWTH} x at {steps[0]}": adjoint["growth"] <= MAX_GROWTH,
            f"memory at {steps[-1]} steps <= {MAX_MEMORY_SHARE} x unroll": (
                adjoint["share_of_unroll"] <= MAX_MEMORY_SHARE
            ),
        },
        "gradients_agree": max(result["relative_errors_of_image_gradient"]["adjoint"]) <= LARGEST_ERROR,
    }


def show(result: dict[str, Any]) -> None:
    """A line for each variant and number of steps, then the verdicts."""
    summary = result["summary"]
    print(json.dumps({"work": result["work"], "machine": result["machine"]}, indent=1))
    print(f"one parameter vector: {result['vector_bytes'] / 2**20:.2f} MiB; {summary['clock']} time")
    print(f"{'':18}{'steps':>6}{'ms':>11}{'x unroll':>10}{'MiB':>10}{'less vectors':>14}{'error':>10}")
    for name, row in summary["rows"].items():
        for index, (key, seconds) in enumerate(row["median_seconds"].items()):
            peak = f"{row['peak_mib'][key]:10.1f}" if "peak_mib" in row else f"{'':10}"
            aside = f"{row['peak_mib_without_vectors'][key]:14.1f}" if "peak_mib" in row else f"{'':14}"
            error = result["relative_errors_of_image_gradient"][name][index]
            print(
                f"{name:18}{key:>6}{1e3 * seconds:11.1f}{row['times_unroll'][key]:10.2f}{peak}{aside}{error:10.1e}"
            )
    for what, met in summary["targets"].items():
        print(f"{'met   ' if met else 'MISSED'}  {what}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=["mnist", "digits", "random"], default="mnist")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--batch-real", type=int, default=256, help="size of the random stand-in, over 20")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--step-size", type=float, default=0.01)
    parser.add_argument("--chunk-size", type=int, help="images at once in adjoint and TESLA; default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="CPU threads; 1 gives the steadiest figures")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def main() -> int:
    """Print the table, write the file, and tell by the exit code whether the gradients agree."""
    arguments = parse_arguments()
    result = measure(arguments)
    result["summary"] = summarise(result)
    show(result)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(arguments.output) as path:
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["summary"]["gradients_agree"]:
        return 0
    print("the gradients of adjoint and unroll do not agree", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
