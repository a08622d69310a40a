"""How well cheap scores order sets: Spearman's rank correlation with a full score on fresh seeds, and what each costs.

Sets are those that a search meets: DM from the same start with several learning rates of its search range, each
looked at on its way. The full score trains many networks for long; a cheap one few networks for few steps of the same
recipe, on seeds of its own which all sets share. All classify the same share of the validation images.
Sets far apart are easily told apart, so the correlation among the better half (by the full score) stands beside it.
``regret`` is how far the set that a cheap score would choose lies behind the best, by the full score; the two halves
of the full seeds against each other show what no cheap score can exceed by much. About 8 minutes on two cores:

    python experiments/benchmarks/rank_correlation.py --output experiments/results/rank_correlation_zen4.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import REPOSITORY, describe_machine
from scipy.stats import spearmanr

import study
from study.core.files import replace_file
from study.core.records import Score, SyntheticSet
from study.core.spaces import Range
from study.evaluation.evaluator import Evaluator
from study.methods.base import find_method
from study.runs.config.configure import RunConfig
from study.runs.context.run_context import RunContext, open_context

METHOD = "dm"
LEARNING_RATE = "distill.image_lr"


def make_sets(
    context: RunContext, num_rates: int, snapshots: Sequence[int]
) -> Iterator[tuple[dict[str, float], SyntheticSet]]:
    """Sets of every learning rate at every snapshot, with what they were made by."""
    for rate in learning_rates(context.config, num_rates):
        config = context.config.with_params({LEARNING_RATE: rate})
        method = find_method(METHOD)(config.distill)
        for progress in method.distill(context.task(config), context.distill_generators()):
            if progress.iteration in snapshots:
                yield {"image_lr": rate, "iterations": progress.iteration}, progress.snapshot()


def learning_rates(config: RunConfig, count: int) -> list[float]:
    """From the lower to the upper end of the search range, evenly on a logarithmic scale."""
    searched = config.space[LEARNING_RATE]
    assert isinstance(searched, Range)
    low, high = searched.low, searched.high
    return [low * (high / low) ** (index / max(1, count - 1)) for index in range(count)]


def variants(options: argparse.Namespace, evaluator: Evaluator) -> dict[str, tuple[Evaluator, int]]:
    """By name the evaluator and the number of networks of every score, the full one first."""
    full = evaluator.reseeded("full").with_recipe(num_steps=options.full_steps)
    cheap = evaluator.reseeded("cheap")
    found = {"full": (full, options.full_seeds)}
    for networks, steps in (map(int, name.split("x")) for name in options.cheap):
        found[f"{networks}x{steps}"] = (cheap.with_recipe(num_steps=steps), networks)
    return found


def correlate(left: Sequence[float], right: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one side puts all on a level, and so orders nothing."""
    if len(set(left)) == 1 or len(set(right)) == 1:
        return 0.0
    return float(spearmanr(left, right).statistic)


def summarise(scores: dict[str, list[Score]]) -> dict[str, dict[str, float]]:
    """Of every cheap score its correlations with the full one, its share of the time, and its regret."""
    full = [score.mean for score in scores["full"]]
    seconds = {name: sum(score.seconds for score in column) for name, column in scores.items()}
    better = sorted(range(len(full)), key=full.__getitem__)[len(full) // 2 :]
    rows = {}
    for name, column in scores.items():
        means = [score.mean for score in column]
        chosen = max(range(len(means)), key=means.__getitem__)
        rows[name] = {
            "spearman": correlate(means, full),
            "spearman_of_better_half": correlate([means[i] for i in better], [full[i] for i in better]),
            "seconds_per_set": seconds[name] / len(column),
            "share_of_full": seconds[name] / seconds["full"],
            "regret": max(full) - full[chosen],
        }
    return rows


def halves(full: Sequence[Score]) -> float | None:
    """Rank correlation of the first half of the full seeds with the second; None for a single seed."""
    middle = full[0].n // 2
    if not middle:
        return None
    first, second = ([statistics.fmean(score.values[part]) for score in full]
                     for part in (slice(middle), slice(middle, None)))  # fmt: skip
    return correlate(first, second)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-root", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--learning-rates", type=int, default=4, help="how many, over DM's search range")
    parser.add_argument("--snapshots", type=int, nargs="+", default=[20, 50, 100, 150],
                        help="iterations after which a set is kept; sets = learning rates x snapshots")  # fmt: skip
    parser.add_argument("--batch-real", type=int, default=64)
    parser.add_argument("--width", type=int, default=32, help="of all networks")
    parser.add_argument("--full-seeds", type=int, default=6)
    parser.add_argument("--full-steps", type=int, default=1000)
    parser.add_argument("--cheap", nargs="+", metavar="NETWORKSxSTEPS",
                        default=["1x50", "2x50", "1x100", "2x100", "1x200", "2x200", "3x300"])  # fmt: skip
    parser.add_argument("--validation", type=int, default=2000, help="validation images to classify, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make the sets and score each in every way, one after the other, so that a busy machine slows all ways."""
    settings = {
        "model.width": options.width,
        "distill.num_iterations": max(options.snapshots),
        "distill.batch_real": options.batch_real,
        "compute.compile": "off",
    }
    config = study.configure(METHOD, options.dataset, ipc=options.ipc, seed=options.seed, settings=settings,
                             resolution=options.resolution, device=options.device)  # fmt: skip
    context = open_context(config, options.data_root)
    count = len(context.validation)
    context = replace(context, validation=context.validation.subset(
        torch.arange(0, count, max(1, -(-count // options.validation)))
    ))  # fmt: skip
    ways = variants(options, context.evaluator("rank-correlation"))
    scores: dict[str, list[Score]] = {name: [] for name in ways}
    sets, distill_seconds = [], 0.0
    clock = time.perf_counter()
    for made_by, synthetic in make_sets(context, options.learning_rates, sorted(set(options.snapshots))):
        distill_seconds += time.perf_counter() - clock
        for name, (evaluator, networks) in ways.items():
            scores[name].append(evaluator.score(synthetic, networks))
        row = {name: {"values": list(column[-1].values), "seconds": column[-1].seconds}
               for name, column in scores.items()}  # fmt: skip
        sets.append({**made_by, "scores": row})
        clock = time.perf_counter()
    means = [score.mean for score in scores["full"]]
    return {
        "work": {
            "dataset": options.dataset,
            "ipc": options.ipc,
            "image_shape": list(context.splits.image_shape),
            "width": options.width,
            "num_sets": len(sets),
            "full": f"{options.full_seeds}x{options.full_steps}",
            "recipe": ways["full"][0].config.resolve().model_dump(mode="json"),
            "validation_images": [len(context.validation), count],
            "distill_seconds": distill_seconds,
        },
        "metric": scores["full"][0].metric,
        "full_from_to": [min(means), max(means)],
        "full_halves_spearman": halves(scores["full"]),
        "summary": summarise(scores),
        "sets": sets,
        "machine": describe_machine(context.compute) | {"load_average_at_end": os.getloadavg()[0]},
    }


def table(result: dict[str, Any]) -> str:
    """The summary in Markdown."""
    work, (low, high), agreement = result["work"], result["full_from_to"], result["full_halves_spearman"]
    used, there = work["validation_images"]
    lines = [
        f"{work['num_sets']} sets of {METHOD} on {work['dataset']}, ipc {work['ipc']}, width {work['width']}; "
        f"full score {work['full']} (networks x steps): {100 * low:.1f} to {100 * high:.1f} %, "
        f"{used} of {there} validation images; its two halves: "
        + ("-" if agreement is None else f"Spearman {agreement:.2f}"),
        "",
        "| networks x steps | Spearman | of the better half | share of full cost | seconds a set | regret, points |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["summary"].items():
        lines.append(
            f"| {name} | {row['spearman']:.2f} | {row['spearman_of_better_half']:.2f} | {row['share_of_full']:.1%} "
            f"| {row['seconds_per_set']:.2f} | {100 * row['regret']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table and write the file."""
    options = parse_arguments()
    result = measure(options)
    print(table(result))
    if options.output:
        with replace_file(options.output) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
