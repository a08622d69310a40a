"""From a cold start on data of six kinds: how soon a search moves its images, how long it takes, what it finds.

Every row runs the commands that a user types, `study tune ... --dry-run` and `study tune ...`, each in a process and
a temporary folder of its own: empty cache, empty store, nothing compiled. Times are wall times from before the process
is started. The search's own progress hooks tell when a phase and the first update of images came.
The file is written after every command; a run that was stopped goes on with `--resume`.

    python experiments/benchmarks/any_data.py --output experiments/results/any_data_zen4.json
    python experiments/benchmarks/any_data.py --methods dm --datasets digits --ipc 1 --output /tmp/any.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cold_start import measure_dry_run, measure_search
from measuring import REPOSITORY, describe_machine

from study.core.device import ComputeConfig, resolve_compute
from study.core.files import cache_folder, replace_file, replace_folder
from study.core.signals import terminate_like_interrupt
from study.testing.pictures import write_mhist, write_ragged

METHODS = ("dm", "datadam", "pad")
FIRST_ITERATION_LIMIT = 60.0
DRY_RUN_LIMIT = 20.0
ESTIMATE_FACTOR = 1.5
SHARE_OF_ESTIMATES = 0.8
SHARE_OF_UPDATES = 0.9


@dataclass(frozen=True)
class Data:
    """One kind of data.

    Attributes:
        words: what the command says of it, besides the data root.
        limit_seconds: what a whole search should stay below on two cores.
        root: where its files lie, from the shared data root and a folder to make them in.
    """

    words: tuple[str, ...]
    limit_seconds: float = 600.0
    root: Callable[[Path, Path], Path] = lambda shared, scratch: shared


def unpack_cifar(shared: Path, scratch: Path) -> Path:
    """CIFAR-10 as 60,000 JPEG files, unpacked once into the user's cache."""
    folder = cache_folder() / "cifar10-jpeg"
    if not folder.is_dir():
        with replace_folder(folder) as temporary, tarfile.open(shared / "cifar10-jpeg.tar.xz") as archive:
            archive.extractall(temporary, filter="data")
    return folder


def make_mhist(shared: Path, scratch: Path) -> Path:
    """300 pictures of 224 x 224 in MHIST's layout, faint enough that random ones do not classify all others."""
    return write_mhist(scratch / "owners" / "mhist", 300, 224, contrast=0.25).parent


def make_ragged(shared: Path, scratch: Path) -> Path:
    """250 colour pictures of 40 to 90 pixels a side in four unbalanced classes."""
    return write_ragged(scratch / "ragged", {"disc": 120, "stripes": 70, "checks": 40, "cross": 20})


DATASETS: dict[str, Data] = {
    "digits": Data(("--dataset", "digits"), 300.0),
    "pneumoniamnist": Data(("--dataset", "pneumoniamnist"), 300.0),
    "ragged": Data(("--dataset", "folder", "--resolution", "32"), root=make_ragged),
    "mnist": Data(("--dataset", "mnist")),
    "mhist-layout": Data(("--dataset", "mhist", "--resolution", "64"), root=make_mhist),
    "cifar10-jpeg": Data(("--dataset", "folder"), root=unpack_cifar),
}
MEASURES = {"dry_run": measure_dry_run, "search": measure_search}


def measure(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Measure what the results lack, and write them after every command."""
    compute = resolve_compute(ComputeConfig())
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.datasets:
            data = DATASETS[name]
            root = data.root(options.data_root, Path(scratch))
            for ipc in options.ipc:
                for method in options.methods:
                    row = _row(results, name, method, ipc)
                    words = ["tune", "--method", method, *data.words, "--ipc", str(ipc), "--budget", options.budget,
                             "--data-root", str(root.resolve()), "--json"]  # fmt: skip
                    for part in ["dry_run"] if options.dry_run_only else list(MEASURES):
                        if part in row:
                            continue
                        facts = describe_machine(compute)
                        print(f"{part.replace('_', ' ')}: {method} on {name}, ipc {ipc}", file=sys.stderr)
                        found = MEASURES[part](words, options.timeout_seconds)
                        when = {key: facts[key] for key in ("commit", "load_average", "date")}
                        row[part] = found | when
                        results["machine"] = facts
                        write(options.output, results)


def _row(results: dict[str, Any], name: str, method: str, ipc: int) -> dict[str, Any]:
    """The row of the results, a new one where there is none."""
    key = {"dataset": name, "method": method, "ipc": ipc}
    rows: list[dict[str, Any]] = results["rows"]
    known = next((row for row in rows if key.items() <= row.items()), None)
    if known is None:
        limit = DATASETS[name].limit_seconds
        rows.append(known := {**key, "limit_seconds": limit})
    return known


def write(output: Path | None, results: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    if output is not None:
        with replace_file(output) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown; seconds, and scores in percent."""
    head = ["data", "ipc", "method", "first iteration, s", "search, s", "test", "random", "n", "beats random",
            "dry run, s", "estimate, s", "search / estimate"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        search, plan = row.get("search", {}), row.get("dry_run", {})
        estimate, ratio = plan.get("estimated_seconds"), _ratio(row)
        if "test" in search:
            found = [_percent(search["test"]), _percent(search["random_test"]), str(search["test"]["n"]),
                     "yes" if search["beats_random"] else "NO"]  # fmt: skip
        else:
            found = [search.get("problem", "-").replace("|", "/"), "-", "-", "-"]
        times = [_seconds(search.get("first_iteration_seconds")), _seconds(search.get("seconds"))]
        plans = [_seconds(plan.get("seconds")), _seconds(estimate), "-" if ratio is None else f"{ratio:.2f}"]
        cells = [row["dataset"], str(row["ipc"]), row["method"], *times, *found, *plans]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How many of the measured rows keep each promise."""
    searches = [(row, row["search"]) for row in rows if "search" in row]
    early = [
        (search["first_iteration_seconds"] or float("inf")) <= FIRST_ITERATION_LIMIT for _, search in searches
    ]
    soon = [not search["problem"] and search["seconds"] <= row["limit_seconds"] for row, search in searches]
    better = [search.get("beats_random", False) for _, search in searches]
    quick = [
        not row["dry_run"]["problem"] and row["dry_run"]["seconds"] <= DRY_RUN_LIMIT
        for row in rows
        if "dry_run" in row
    ]
    ratios = [ratio for row in rows if (ratio := _ratio(row)) is not None]
    near = [1 / ESTIMATE_FACTOR <= ratio <= ESTIMATE_FACTOR for ratio in ratios]
    shares = [share for _, search in searches for share in search.get("shares_updated", [])]
    moving = [share >= SHARE_OF_UPDATES for share in shares]
    return [
        f"first iteration within {FIRST_ITERATION_LIMIT:.0f} s: {sum(early)} of {len(early)}",
        f"search within 5 min on digits and pneumoniamnist, 10 min elsewhere: {sum(soon)} of {len(soon)}",
        f"better than random real images: {sum(better)} of {len(better)}",
        f"dry run within {DRY_RUN_LIMIT:.0f} s: {sum(quick)} of {len(quick)}",
        f"estimate within a factor of {ESTIMATE_FACTOR}: {sum(near)} of {len(near)} "
        f"(at least {SHARE_OF_ESTIMATES:.0%} wanted)",
        f"trials that matched trajectories in at least {SHARE_OF_UPDATES:.0%} of their iterations: "
        f"{sum(moving)} of {len(moving)}",
    ]


def _ratio(row: dict[str, Any]) -> float | None:
    """Measured over estimated seconds of the whole search; None where it did not finish or nothing was estimated."""
    search, estimate = row.get("search"), row.get("dry_run", {}).get("estimated_seconds")
    if search is None or search["problem"] or not estimate:
        return None
    return float(search["seconds"] / estimate)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _percent(score: dict[str, float]) -> str:
    return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--datasets", nargs="+", choices=list(DATASETS), default=list(DATASETS))
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--data-root", type=Path, default=REPOSITORY.parent / "shared" / "data",
                        help="holds MNIST, medmnist and cifar10-jpeg.tar.xz")  # fmt: skip
    parser.add_argument("--timeout-seconds", type=float, default=1800.0, help="for each command")
    parser.add_argument("--dry-run-only", action="store_true", help="measure the plans alone")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="measure only what --output lacks; what failed or took too long is there",
    )
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def load(options: argparse.Namespace) -> dict[str, Any]:
    """The results to go on with; exits where that would lose some, or mix two budgets."""
    results: dict[str, Any] = {"budget": options.budget, "rows": []}
    if options.output is None or not options.output.exists():
        return results
    if not options.resume:
        sys.exit(f"{options.output} exists; give --resume to go on with it, or another file")
    known: dict[str, Any] = json.loads(options.output.read_text(encoding="utf-8"))
    if known["budget"] != options.budget:
        sys.exit(f"{options.output} holds budget {known['budget']!r}; --budget is {options.budget!r}")
    return known


def main() -> None:
    """Measure, and print the table and what it says."""
    options = parse_arguments()
    results = load(options)
    try:
        with terminate_like_interrupt():
            measure(options, results)
    except KeyboardInterrupt:
        print("stopped; --resume goes on with the next command", file=sys.stderr)
    print(table(results["rows"]))
    print()
    print("\n".join(verdicts(results["rows"])))


if __name__ == "__main__":
    main()
