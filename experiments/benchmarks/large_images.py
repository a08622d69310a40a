"""Seconds and peak memory of one iteration at 224 pixels with ConvNet-7, on generated pictures in MHIST's layout.

The pictures are written in their owners' layout to a temporary folder and read like the real ones. Examples:

    python experiments/benchmarks/large_images.py --method datadam --batch-real 128 --ipc 50
    python experiments/benchmarks/large_images.py --method pad --ipc 50 --student-steps 10
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import describe_machine

from study.core.device import ComputeConfig, resolve_compute
from study.core.records import Progress
from study.core.seeding import Generators
from study.data.splits import DataConfig, load_splits
from study.methods.base import Task
from study.methods.datadam import DataDAM, DataDAMConfig
from study.methods.pad import PAD, PADConfig
from study.models.pool import ModelConfig
from study.testing.pictures import write_mhist


def iterations(arguments: argparse.Namespace, task: Task) -> Iterator[Progress]:
    """The loop that is timed; PAD matches untrained experts, which cost the same."""
    generators = Generators(0)
    if arguments.method == "datadam":
        config = DataDAMConfig(num_iterations=arguments.iterations, batch_real=arguments.batch_real)
        return DataDAM(config).distill(task, generators)
    settings = PADConfig(
        num_iterations=arguments.iterations,
        num_student_steps=arguments.student_steps,
        threshold=None,
        memory_gb=arguments.memory_gb,
    )
    return PAD(settings).rehearse(task, generators)


def peak_bytes() -> int:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", choices=["datadam", "pad"], default="datadam")
    parser.add_argument("--batch-real", type=int, default=128)
    parser.add_argument("--ipc", type=int, default=50)
    parser.add_argument("--student-steps", type=int, default=10)
    parser.add_argument("--memory-gb", type=float, default=4.0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=7)
    parser.add_argument("--num-images", type=int, default=660)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def main() -> None:
    """Print and write the figures."""
    arguments = parse_arguments()
    compute = resolve_compute(ComputeConfig(device=arguments.device, compile="off"))
    with tempfile.TemporaryDirectory() as root:
        write_mhist(Path(root) / "mhist", arguments.num_images, side=224)
        splits = load_splits("mhist", DataConfig(), Path(root))
    train = splits.train.to(compute.device)
    model = ModelConfig(depth=arguments.depth, width=arguments.width)
    task = Task(train, arguments.ipc, model, splits.augmentation, compute)
    before, seconds = peak_bytes(), []
    steps = iterations(arguments, task)
    next(steps)
    for _ in range(arguments.iterations):
        started = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - started)
    result = {
        "work": {key: value for key, value in vars(arguments).items() if key != "output"}
        | {"train_counts": train.class_counts(), "image_shape": list(train.image_shape)},
        "seconds": seconds,
        "peak_gib": peak_bytes() / 2**30,
        "peak_gib_with_data_alone": before / 2**30,
        "machine": describe_machine(compute),
    }
    print(json.dumps(result, indent=1))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
