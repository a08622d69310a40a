"""What tracking, registry and figures cost: the same search with MLflow and with a store in memory.

Both sides run in fresh processes, taking turns; the search itself is the same to the last bit.

    python experiments/benchmarks/tracking_cost.py --rounds 2 --output experiments/results/tracking_cost.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

HELPERS = Path(__file__).parents[2] / "tests" / "helpers"
WITH_MLFLOW = "from study.cli.app import main; main()"
IN_MEMORY = (
    f"import sys; sys.path.insert(0, {str(HELPERS)!r}); from memory_tracker import opener; "
    "from study.tracking import open as tracking; "
    f"tracking.MlflowTracker = opener(tracking.MlflowTracker); {WITH_MLFLOW}"
)


def search(code: str, budget: str) -> dict[str, float | str]:
    """Run one search in a folder of its own; wall time of the process and what it says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["tune", "--method", "dm", "--dataset", "digits", "--ipc", "1", "--budget", budget, "--json"]
        words += ["--tracking-uri", "memory://benchmark"] if code == IN_MEMORY else []
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=True
        )
        wall = time.perf_counter() - started
    outcome = json.loads(done.stdout)
    return {
        "wall": wall,
        "search": outcome["seconds"],
        "inside_tracking": outcome["tracking_seconds"],
        "sha256": outcome["winner"]["sha256"],
    }


def main() -> None:
    """Take turns, print both sides and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with_store, without = [], []
    for _ in range(options.rounds):
        without.append(search(IN_MEMORY, options.budget))
        with_store.append(search(WITH_MLFLOW, options.budget))
    if len({side["sha256"] for side in with_store + without}) != 1:
        sys.exit("the searches differ: tracking must not change a result")
    inside = statistics.median(float(side["inside_tracking"]) for side in with_store)
    seconds = statistics.median(float(side["search"]) for side in with_store)
    plain = statistics.median(float(side["search"]) for side in without)
    result = {
        "budget": options.budget,
        "search_seconds_with_mlflow": seconds,
        "search_seconds_in_memory": plain,
        "seconds_inside_tracking": inside,
        "share_inside_tracking": inside / seconds,
        "share_by_difference": (seconds - plain) / seconds,
        "rounds": {"with_mlflow": with_store, "in_memory": without},
        "machine": {"processor": platform.processor() or platform.machine(), "torch": torch.__version__},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    print(
        f"with MLflow {seconds:.1f} s, in memory {plain:.1f} s: {100 * result['share_by_difference']:.1f} % more"
    )
    print(
        f"inside tracking, registry and figures {inside:.1f} s: {100 * result['share_inside_tracking']:.1f} %"
    )
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
