from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"


@pytest.fixture
def run_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``run_benchmark("dm_iteration", "--ipc 2 ...", output)`` runs a script as Python does, in this process."""

    def run(name: str, words: str, output: Path) -> None:
        script = BENCHMARKS / f"{name}.py"
        monkeypatch.syspath_prepend(BENCHMARKS)
        monkeypatch.setattr(sys, "argv", [str(script), *words.split(), "--output", str(output)])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            assert ended.code in (0, None)  # noqa: PT017 - a script need not exit by itself

    return run
