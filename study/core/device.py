"""Where and how tensors are computed: device, precision, threads, compilation."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

import torch

from study.core.config import Frozen
from study.core.errors import ConfigError


class ComputeConfig(Frozen):
    """What the user asks of the machine."""

    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of convolutions and matrix products in forward passes; losses and sums stay float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """``auto`` compiles where the expected run is long enough to earn the compiler's time back."""
    num_threads: int | None = None
    """CPU threads; by default every core this process may use."""


@dataclass(frozen=True)
class Compute:
    """What this machine will do, resolved once and passed to whoever computes.

    Attributes:
        device: the torch device.
        dtype: autocast type of forward passes, ``torch.float32`` or ``torch.bfloat16``.
        compile: ``on``, ``off``, or ``auto``: let the caller weigh the length of its own loop.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    compile: Literal["auto", "on", "off"] = "off"

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context for forward passes; does nothing in float32."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def should_compile(self, expected_seconds: float, break_even_seconds: float = 90.0) -> bool:
        """Whether a loop that would take that long uncompiled should be compiled."""
        wanted = self.compile == "on"
        if self.compile == "auto":
            wanted = compiler_available(self.device) and expected_seconds > break_even_seconds
        if wanted and self.device.type == "cpu":
            # Where CUDA's folders lie about without a GPU, compiling for the CPU would warn of it each time.
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        return wanted

    def describe(self) -> dict[str, str]:
        """Plain values for parameters and result files."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {
            "device": name,
            "precision": str(self.dtype).removeprefix("torch."),
            "compile": self.compile,
            "threads": str(torch.get_num_threads()),
            "torch": torch.__version__,
        }


def compiler_available(device: torch.device) -> bool:
    """Whether ``torch.compile`` has the back end it needs: a C++ compiler on CPU, Triton on CUDA."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (7, 0)
    return device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is not None


def num_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory() -> int:
    """Bytes that this process has taken at most so far; 0 where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resolve_compute(config: ComputeConfig) -> Compute:
    """What this machine can do of a request.

    Raises:
        ConfigError: the device is unknown or absent, threads are below 1, or a demanded compiler is missing.
    """
    device = _resolve_device(config.device)
    if config.num_threads is not None:
        if config.num_threads < 1:
            raise ConfigError(f"compute.num_threads = {config.num_threads}: must be at least 1")
        torch.set_num_threads(config.num_threads)
    if config.compile == "on" and not compiler_available(device):
        raise ConfigError("compute.compile = 'on', but no C++ compiler was found; install g++ or use 'auto'")
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if _has_fast_bfloat16(device) else "float32"
    return Compute(device, getattr(torch, precision), config.compile)


def _resolve_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}. Choices: auto, cpu, cuda, cuda:N, mps") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise ConfigError(f"device {name!r} is not present on this machine; use --device auto or cpu")
    return device


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions bfloat16 is emulated, and slower than float32.
    return device.type == "cpu" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(_cpu_flags())


def _cpu_flags() -> set[str]:
    capabilities = torch.backends.cpu.get_cpu_capability()
    flags = {capabilities.lower()}
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="ignore") as stream:
        for line in stream:
            if line.startswith(("flags", "Features")):
                flags.update(line.split(":", 1)[1].split())
                break
    return flags
