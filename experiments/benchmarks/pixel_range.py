"""What a limit on pixels does to accuracy, to other architectures and to pictures, method by method.

Every row is one `study distill` from the recipe's own values, in an empty store, with a setting of
`distill.pixel_range`. Cases may lay settings over the recipe, as a search does: a rate at the upper end of its range is
where images run away. Scores are of fresh networks on validation, random real images beside.

    python experiments/benchmarks/pixel_range.py --output experiments/results/pixel_range_digits.json
    python experiments/benchmarks/pixel_range.py --cases dm --ranges none 0 --output /tmp/ranges.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import REPOSITORY, describe_machine

import study
from study.core.config import parse_overrides
from study.core.device import ComputeConfig, resolve_compute
from study.core.files import replace_file
from study.core.words import percent

CASES = ("dm", "datadam", "datadam:distill.image_lr=5,distill.num_iterations=300", "mtt", "pad")
RANGES = ("none", "0", "0.25", "1")


def measure(case: str, limit: str, options: argparse.Namespace) -> dict[str, Any]:
    """One distillation, and what its set is worth."""
    method, _, words = case.partition(":")
    settings = [*filter(None, words.split(",")), f"distill.pixel_range={limit}"]
    with tempfile.TemporaryDirectory() as folder:
        made = study.distill(
            method, options.dataset, ipc=options.ipc, budget=options.budget, settings=parse_overrides(settings),
            data_root=options.data_root, tracking_uri=folder,
        )  # fmt: skip
        pixels = study.load(made.winner.set, tracking_uri=folder).manifest.pixels
    assert pixels is not None
    winner = made.winner
    scores = {"own": winner.score, "own_random": winner.random}
    row: dict[str, Any] = {"case": case, "pixel_range": limit, "seconds": made.seconds}
    row.update({name: {"mean": one.mean, "std": one.std, "n": one.n} for name, one in scores.items()})
    plain = winner.plain()["cross"], made.plain()["random"]["cross"]
    return {**row, "cross": plain[0], "cross_random": plain[1], "pixels": pixels.model_dump(),
            "relative_change": winner.relative_change, "fit": winner.fitness.fit,
            "sha256": winner.sha256}  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ("case", "limit", "own network", "random", "others", "random", "clipped", "pixels", "fit")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        own, random, pixels = row["own"], row["own_random"], row["pixels"]
        cells = [
            row["case"], row["pixel_range"], percent(own["mean"], own["std"]), percent(random["mean"], random["std"]),
            percent(row["cross"].get("mean")), percent(row["cross_random"].get("mean")), percent(pixels["clipped"]),
            f"{pixels['low']:.2f} to {pixels['high']:.2f}", "yes" if row["fit"] else "no",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="METHOD or METHOD:KEY=VALUE,...")
    parser.add_argument("--ranges", nargs="+", default=list(RANGES), help="values of distill.pixel_range")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--data-root", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, and write the file after every row."""
    options = parse_arguments()
    facts = describe_machine(resolve_compute(ComputeConfig()))
    rows: list[dict[str, Any]] = []
    for case in options.cases:
        for limit in options.ranges:
            print(f"{case}, pixel_range {limit}", file=sys.stderr)
            rows.append(measure(case, limit, options))
            if options.output is not None:
                task = {"dataset": options.dataset, "ipc": options.ipc, "budget": options.budget}
                with replace_file(options.output) as temporary:
                    content = {"task": task, "machine": facts, "rows": rows}
                    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
