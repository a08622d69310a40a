"""``study evaluate``: train fresh networks on a set and score them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from study.cli import common


class Split(StrEnum):
    """Which real images are classified."""

    validation = "validation"
    test = "test"


EPILOG = (
    "Example: study evaluate digits-dm-ipc1@best --seeds 10\n\n"
    "Opening the test set is logged: study evaluate digits-dm-ipc1@best --split test\n\n"
    "Another recipe: study evaluate digits-dm-ipc1 --set evaluation.preset=dc"
)


@common.guarded
def evaluate(
    reference: Annotated[
        str, typer.Argument(metavar="SET", help="Registered name, run id or folder.", show_default=False)
    ],
    split: Annotated[Split, typer.Option("--split", help="Real images to classify.")] = Split.validation,
    seeds: Annotated[int, typer.Option("--seeds", help="Networks trained from scratch.", min=1)] = 5,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Root of their seeds; default: the set's own.", min=0)
    ] = None,
    overrides: common.Overrides = None,
    data_root: common.DataRoot = None,
    device: common.Device = "auto",
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Train fresh networks on a synthetic set and score them beside random real images."""
    from study.cli.progress import TerminalListener
    from study.cli.requests import stores
    from study.cli.summary import print_evaluation
    from study.core.config import merge, parse_overrides
    from study.core.signals import terminate_like_interrupt
    from study.runs.evaluate import EvaluateOptions, evaluate_set

    tree = parse_overrides(overrides or [])
    if device != "auto":
        tree = merge(tree, {"compute": {"device": device}})
    options = EvaluateOptions(split.value, seeds, seed, tree, stores(tracking_uri, None, data_root))
    with terminate_like_interrupt(), TerminalListener(quiet=as_json) as listener:
        evaluation = evaluate_set(reference, options, listener)
    print_evaluation(evaluation, as_json=as_json)
