"""``study evaluate``: train fresh networks on a set and score them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from study.runs.evaluate import Evaluation
    from study.runs.protocol_session import ProtocolOptions


class Split(StrEnum):
    """Which real images are classified."""

    validation = "validation"
    test = "test"


class Pool(StrEnum):
    """Architectures beside the one the set was distilled with."""

    none = "none"
    quick = "quick"
    full = "full"


POOL = "Architectures: the set's own alone, two small ones beside it, or all eight."
PROTOCOL = "Instead of architectures: leakage, noise, cost, ranking or continual."
MODELS = "Architectures by name instead, with a width where wanted: convnet,mlp,resnet18:32."
FULL_DATA = (
    "Train on all real training images too, once, and keep the score; by default only where it costs seconds."
)
BESIDE = "With --protocol noise: a second set in the same picture, such as one that started from noise."


EPILOG = (
    "Example: study evaluate digits-dm-ipc1@best --seeds 10\n\n"
    "Some architectures only: study evaluate digits-dm-ipc1 --models mlp,lenet,resnet18:16\n\n"
    "Opening the test set is logged: study evaluate digits-dm-ipc1@best --split test\n\n"
    "Near copies of real images: study evaluate digits-dm-ipc1@best --protocol leakage\n\n"
    "Another recipe: study evaluate digits-dm-ipc1 --set evaluation.preset=dc"
)


@common.guarded
def evaluate(
    reference: Annotated[
        str, typer.Argument(metavar="SET", help="Registered name, run id or folder.", show_default=False)
    ],
    split: Annotated[Split, typer.Option("--split", help="Real images to classify.")] = Split.validation,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Networks trained from scratch, of each architecture.", min=1)
    ] = 5,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Root of their seeds; default: the set's own.", min=0)
    ] = None,
    pool: Annotated[Pool, typer.Option("--pool", help=POOL)] = Pool.full,
    models: Annotated[
        str | None, typer.Option("--models", metavar="NAME[:WIDTH],...", help=MODELS, show_default=False)
    ] = None,
    full_data: Annotated[
        bool | None, typer.Option("--full-data/--no-full-data", help=FULL_DATA, show_default=False)
    ] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help=PROTOCOL, show_default=False)] = None,
    beside: Annotated[
        str | None, typer.Option("--beside", metavar="SET", help=BESIDE, show_default=False)
    ] = None,
    overrides: common.Overrides = None,
    data_root: common.DataRoot = None,
    device: common.Device = "auto",
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Train fresh networks on a synthetic set and score them beside random real images.

    The mean and the worst architecture leave out the one the set was distilled with. Architectures
    without a norm, and VGG11, get a learning rate chosen on validation, with random real images.
    """
    from study.cli.progress import TerminalCallback
    from study.cli.requests import stores
    from study.core.config import merge, parse_overrides
    from study.core.signals import terminate_like_interrupt
    from study.runs.evaluate import EvaluateOptions, evaluate_set
    from study.runs.protocol_session import ProtocolOptions

    tree = parse_overrides(overrides or [])
    if device != "auto":
        tree = merge(tree, {"compute": {"device": device}})
    _check_together(protocol, models, full_data, beside)
    if protocol is not None:
        _judge(protocol, reference, ProtocolOptions(
            split.value, seeds, seed, tree, stores(tracking_uri, None, data_root), beside
        ), as_json=as_json)  # fmt: skip
        return
    names = tuple(word.strip() for word in models.split(",")) if models is not None else ()
    options = EvaluateOptions(
        split.value, seeds, seed, tree, stores(tracking_uri, None, data_root), pool.value, names, full_data
    )
    with terminate_like_interrupt(), TerminalCallback(quiet=as_json) as callback:
        evaluation = evaluate_set(reference, options, callback)
    if as_json:
        common.print_json(evaluation.plain())
    else:
        _print(evaluation)


def _check_together(
    protocol: str | None, models: str | None, full_data: bool | None, beside: str | None
) -> None:
    """Refuse options that mean nothing together.

    Raises:
        ConfigError: one of them would be ignored.
    """
    from study.core.errors import ConfigError

    if protocol is not None and models is not None:
        raise ConfigError(f"--models {models}: a protocol trains the set's own architecture; leave one out")
    if protocol is not None and full_data is not None:
        raise ConfigError("--full-data: for the table of architectures, without --protocol; leave one out")
    if protocol is None and beside is not None:
        raise ConfigError(
            f"--beside {beside}: for --protocol noise; `study compare` compares two sets otherwise"
        )


def _judge(protocol: str, reference: str, options: ProtocolOptions, *, as_json: bool) -> None:
    """Run one protocol and print what it found."""
    from study.cli.progress import TerminalCallback
    from study.cli.protocols import print_protocol
    from study.core.signals import terminate_like_interrupt
    from study.runs.protocols import run_protocol

    with terminate_like_interrupt(), TerminalCallback(quiet=as_json) as callback:
        result = run_protocol(protocol, reference, options, callback)
    print_protocol(result, as_json=as_json)


def _print(evaluation: Evaluation) -> None:
    """Architectures down, the set and random real images across."""
    from rich.table import Table

    from study.cli.summary import duration, percent

    metric = evaluation.metric.replace("_", " ")
    title = f"{evaluation.set}: {metric} on {evaluation.split}, ddof 1"
    table = Table("architecture", title=title, title_justify="left")
    for column in ("distilled", "random real images", "n", "learning rate"):
        table.add_column(column, justify="right")
    for row in evaluation.architectures:
        table.add_row(
            row.model + (" *" if row.is_own else ""),
            percent(row.distilled["mean"], row.distilled["std"]),
            percent(row.random["mean"], row.random["std"]),
            str(row.distilled["n"]),
            "learned" if row.lr is None else f"{row.lr:.3g}",
            style="bold green" if row.is_own else None,
        )
    _add_totals(table, evaluation)
    _add_full_data(table, evaluation)
    console = common.out()
    console.print(table)
    console.print(
        f"* distilled with it, so not part of mean and worst; always the largest class: "
        f"{percent(evaluation.majority_rate)}"
    )
    whole = evaluation.whole
    if whole.score is None:
        console.print(
            f"{whole.label}: not known here; --full-data trains on it once, about {duration(whole.expected_seconds)}"
        )
    for name, reason in evaluation.left_out.items():
        console.print(f"{name} left out: {reason}")
    console.print(f"run {evaluation.run_id}", style="dim")


def _add_totals(table: Table, evaluation: Evaluation) -> None:
    from study.cli.summary import percent

    cross, random = evaluation.cross, evaluation.random_cross
    if "mean" not in cross:
        return
    table.add_section()
    for name, words in (("mean", "mean of the others"), ("worst", "worst of the others")):
        table.add_row(words, percent(cross[name]), percent(random[name]), "", "")


def _add_full_data(table: Table, evaluation: Evaluation) -> None:
    from study.cli.summary import percent

    whole = evaluation.whole
    if whole.score is None:
        return
    table.add_section()
    score = percent(whole.score["mean"], whole.score["std"])
    table.add_row(
        f"{whole.model} on {whole.label}", score, "", str(whole.score["n"]), f"{whole.recipe['lr']:.3g}"
    )
