"""What the benchmarks share: timing with the device's queue, a yardstick of speed, data, and the machine."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from study.core.device import Compute
from study.core.errors import DataError, MissingDataError
from study.core.records import ImageDataset
from study.data.augment import AugmentationConfig
from study.data.splits import DataConfig, load_splits

__all__ = ["describe_machine", "load_real", "matmul_rate", "timed"]

REPOSITORY = Path(__file__).parents[2]


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
