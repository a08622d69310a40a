"""``study evaluate``: ask a question of a synthetic set, by default how it teaches several networks."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import study
from study.cli import common, complete

POOL = "Architectures: the set's own alone, two small ones beside it, or, by default, all eight."
PROTOCOL = "The question: architectures by default; `study evaluate --protocols` lists all."
MODELS = "Architectures by name instead, with a width where wanted: convnet,mlp,resnet18:32."
FULL_DATA = (
    "Train on all real training images too, once, and keep the score; by default only where it costs seconds. "
    "With --protocol ranking: for 200 epochs, as in DD-Ranking; by default only for sets of budget paper."
)
AGAINST = "With --protocol noise: a second set in the same picture, such as one that started from noise."

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
        str | None,
        typer.Argument(
            metavar="SET",
            help="Registered name, run id or folder.",
            show_default=False,
            autocompletion=complete.sets,
        ),
    ] = None,
    split: Annotated[
        Literal["validation", "test"], typer.Option("--split", help="Real images to classify.")
    ] = "validation",
    seeds: Annotated[
        int, typer.Option("--seeds", help="Networks trained from scratch, of each architecture.", min=1)
    ] = 5,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Root of their seeds; default: the set's own.", min=0)
    ] = None,
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help=PROTOCOL)] = "architectures",
    protocols: Annotated[bool, typer.Option("--protocols", help="List the protocols and stop.")] = False,
    pool: Annotated[
        Literal["none", "quick", "full"] | None, typer.Option("--pool", help=POOL, show_default=False)
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", metavar="NAME[:WIDTH],...", help=MODELS, show_default=False)
    ] = None,
    full_data: Annotated[
        bool | None, typer.Option("--full-data/--no-full-data", help=FULL_DATA, show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="SET", help=AGAINST, show_default=False, autocompletion=complete.sets
        ),
    ] = None,
    overrides: common.Overrides = None,
    data_root: common.DataRoot = None,
    device: common.Device = "auto",
    tracking_uri: common.TrackingUri = None,
    as_json: common.Json = False,
) -> None:
    """Train fresh networks on a synthetic set and judge it beside random real images.

    The mean and the worst architecture leave out the one the set was distilled with. Architectures
    without a norm, and VGG11, get a learning rate chosen on validation, with random real images.
    """
    if protocols:
        common.answer({"protocols": study.protocols()}, _show_protocols, as_json=as_json)
        return
    if reference is None:
        raise study.ConfigError(
            "SET is missing: a registered name, run id or folder; `study sets list` shows all"
        )
    from study.cli.progress import watched
    from study.cli.tables import show_evaluation

    names = tuple(word.strip() for word in models.split(",")) if models is not None else ()
    with watched(quiet=as_json) as callback:
        evaluation = study.evaluate(
            reference, protocol=protocol, split=split, seeds=seeds, seed=seed, settings=overrides,
            pool=pool, models=names, full_data=full_data, against=against,
            data_root=data_root, device=device, tracking_uri=tracking_uri, callback=callback,
        )  # fmt: skip
    common.answer(evaluation, show_evaluation, as_json=as_json)


def _show_protocols(found: dict[str, dict[str, str]]) -> None:
    table = common.new_table("protocol", "asks")
    for row in found["protocols"].items():
        table.add_row(*row)
    common.out().print(table)
