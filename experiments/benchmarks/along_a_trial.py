r"""What a trial's set is worth on validation when it starts, half way and at its end, setting by setting.

Every case has the settings of the budget, sizes chosen by counted work included, and what ``--case`` lays over them;
all share seeds, and random real images stand beside. This is what defaults of recipes are chosen by. The file is
written after every case, and cases that it holds are not run again.

    python experiments/benchmarks/along_a_trial.py --method pad --dataset pneumoniamnist --ipc 10 \
        --case as-drawn:distill.experts.balance=false --case balanced:distill.experts.balance=true --output figures.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from measuring import REPOSITORY, describe_machine

from study.core.config import flatten, parse_overrides
from study.core.device import ComputeConfig, resolve_compute
from study.core.errors import ConfigError, StudyError
from study.core.files import replace_file
from study.methods.base import find_method
from study.runs.config.configure import Request, configure
from study.runs.context.run_context import open_context


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="pad")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=3, help="of each score")
    parser.add_argument("--case", action="append", metavar="NAME[:KEY=VALUE,...]", help="repeatable")
    parser.add_argument("--output", type=Path, help="write the figures as JSON, or go on with those there")
    return parser.parse_args()


def run_case(arguments: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """Distil under some settings, scoring on the way."""
    asked = (arguments.method, arguments.dataset, arguments.ipc, arguments.budget, arguments.seed)
    # Nothing is searched, so no value has to lie in a range.
    fixed = dict.fromkeys(configure(Request(*asked)).space)
    context = open_context(configure(Request(*asked, parse_overrides(words), fixed)), arguments.data_root)
    config = context.config
    method, scorer = find_method(config.method)(config.distill, config.space), context.scorer("trial")
    began = time.perf_counter()
    method.prepare(context.task(config), context.distill_generators())
    prepared, total, held = time.perf_counter() - began, config.distill.num_iterations, 0
    curve = []
    for progress in method.distill(context.task(config), context.distill_generators()):
        held += progress.iteration > 0 and not float(progress.losses.get("match/updated", 1.0))
        if progress.iteration in {0, total // 2, total}:
            score = scorer.score(progress.snapshot(), arguments.networks)
            curve.append({"iteration": progress.iteration, **score.summary()})
    stated = flatten(config.plain())
    return {
        "curve": curve,
        "random": scorer.random(arguments.ipc, max(arguments.networks, 5)).summary(),
        "iterations_held": held,
        "preparation_seconds": prepared,
        "settings": {
            key: value
            for key, value in stated.items()
            if key.startswith(("model.", "distill.", "evaluation."))
        },
    }


def main() -> int:
    """Run the cases that are missing, print, write the file."""
    arguments = parse_arguments()
    work = {
        name: getattr(arguments, name) for name in ("method", "dataset", "ipc", "budget", "seed", "networks")
    }
    result: dict[str, Any] = {"work": work, "cases": {}}
    if arguments.output and arguments.output.exists():
        result = json.loads(arguments.output.read_text(encoding="utf-8"))
        if result["work"] != work:
            print(f"error: {arguments.output} holds {result['work']}, asked for is {work}", file=sys.stderr)
            return 2
    for text in arguments.case or ["recipe"]:
        name, _, words = text.partition(":")
        try:
            if name not in result["cases"]:
                result["cases"][name] = run_case(arguments, [word for word in words.split(",") if word])
        except (ConfigError, StudyError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 2
        result["machine"] = describe_machine(resolve_compute(ComputeConfig()))
        if arguments.output:
            with replace_file(arguments.output) as path:
                path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        case = result["cases"][name]
        points = (
            f"{point['iteration']}: {point['mean']:.3f} +- {point['std']:.3f}" for point in case["curve"]
        )
        random = case["random"]
        print(
            f"{name:16}", *points, f"random {random['mean']:.3f} +- {random['std']:.3f}", sep="  ", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
