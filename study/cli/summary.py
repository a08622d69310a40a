"""Final screens: what won, by how much, and which commands come next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.markup import escape

from study.cli.common import new_table, next_command, out, percent, print_json
from study.cli.recipe import plain_settings, settings_table
from study.core.words import duration, short

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from study import Plan, SearchResult, Setting
    from study.core.clock import Part
    from study.core.records import Score

NUM_BEST_SHOWN = 3
PART_NAMES: dict[Part, str] = {
    "start": "starting points",
    "distill": "distilling",
    "scores": "scores of trials",
    "cross": "other architectures",
    "tracking": "tracking, registry, figures",
}
"""Words for what a run spends its time on, where its own name is too short."""
STANDSTILL = 0.01
"""Relative change of the images below which nothing was distilled."""


def show_result(result: SearchResult, *, profile: bool = False) -> None:
    """The table of trials, the winner beside its baselines, where the time went if asked for, and the next commands."""
    console = out()
    if len(result.trials) > 1:
        keys = list(dict.fromkeys(key for trial in result.trials for key in trial["params"]))
        together = _trials_table(result, keys)
        if _fits(console, together):
            console.print(together)
        else:
            console.print(_trials_table(result, []), _params_table(result, keys), sep="\n")
    winner = result.winner
    metric = winner.test.metric.replace("_", " ")
    console.print(
        f"{result.method} on {result.dataset}, {result.ipc} a class: {metric}, ddof 1",
        style="italic",
    )
    others = [] if winner.cross is None else list(winner.cross.others)
    together = _scores_table(result, others)
    tables = [together] if _fits(console, together) else [_scores_table(result, []), _others_table(result)]
    console.print(*tables, sep="\n")
    if len(result.finalists) > 1:
        console.print(_finalists_table(result))
    if result.choice:
        console.print(f"trial {winner.trial} was chosen: {result.choice}", markup=False)
    console.print(f"registered as [bold]{winner.set}[/bold] ({escape(winner.note)})")
    for text in winner.fitness.warnings:
        console.print(f"warning: {text}", style="yellow", markup=False)
    if winner.trial is not None and winner.relative_change < STANDSTILL:
        console.print(
            "its images are still those that the search began with: no trial that moved them did better",
            style="yellow",
        )
    if winner.near_copies:
        console.print(
            f"{winner.near_copies} of its images are near copies of real training images, as its card says; "
            f"look at them with: {next_command(f'study evaluate {winner.set} --protocol leakage', 'data_root')}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"images moved by {100 * winner.relative_change:.0f} % of their start; "
                  f"data.safetensors SHA-256 {winner.sha256[:16]}")  # fmt: skip
    console.print(
        f"{result.seconds:.0f} s in all, {result.tracking_seconds:.1f} s of them for tracking, "
        "registry and figures\n"
    )
    if profile:
        console.print(_cost_table(result))
    name = winner.set.split("/")[0]
    console.print("Next:")
    _say_command("study ui")
    for title, link in result.links.items():
        console.print(f"    {title}: {link}", style="dim", soft_wrap=True)
    reference = f"{name}@best" if winner.is_best else winner.set
    _say_command(f"study sets download {reference} --output {name}")
    _say_command(f"study evaluate {reference}", "data_root")


def _say_command(command: str, *more: str) -> None:
    out().print(f"  {next_command(command, *more)}", style="bold", markup=False, soft_wrap=True)


def _fits(console: Console, table: Table) -> bool:
    """Whether no word of a table has to be cut in a terminal of this width."""
    unbounded = console.options.update(width=sys.maxsize)
    return console.measure(table, options=unbounded).maximum <= console.width


def _trials_table(result: SearchResult, keys: list[str]) -> Table:
    table = new_table(title=f"{result.search}: {result.trials_finished} trials")
    table.add_column("trial", justify="right")
    table.add_column("outcome")
    table.add_column("validation", justify="right")
    crossed = any(trial["cross_mean"] is not None for trial in result.trials)
    if crossed:
        table.add_column("others", justify="right")
    if result.front:
        table.caption = (
            "front: complete, and no other trial is at least as good in both objectives and better in one"
        )
        table.caption_justify = "left"
    counts = {trial["num_seeds"] for trial in result.trials if trial["val_accuracy"] is not None}
    if raced := len(counts) > 1:
        table.add_column("n", justify="right")
    for key in keys:
        table.add_column(key.removeprefix("distill."), justify="right")
    table.add_column("seconds", justify="right")
    for trial in result.trials:
        won = trial["trial"] == result.winner.trial
        table.add_row(
            str(trial["trial"]) + (" *" if won else ""),
            "front" if trial["on_front"] else str(trial["outcome"]).lower(),
            percent(trial["val_accuracy"]),
            *([percent(trial["cross_mean"])] if crossed else []),
            *([str(trial["num_seeds"] or "-")] if raced else []),
            *(short(trial["params"].get(key)) for key in keys),
            f"{trial['seconds']:.0f}",
            style="bold green" if won else None,
        )
    return table


def _params_table(result: SearchResult, keys: list[str]) -> Table:
    """Parameters a row, best trials a column: many parameters do not fit beside each other."""
    complete = [trial for trial in result.trials if trial["val_accuracy"] is not None]
    # The finalists' fresh seeds may have chosen another one than the best of all trials.
    best = sorted(complete, key=lambda t: (t["trial"] != result.winner.trial, -t["val_accuracy"]))
    best = best[:NUM_BEST_SHOWN]
    table = new_table("parameter", title="best trials")
    for trial in best:
        won = trial["trial"] == result.winner.trial
        table.add_column(f"trial {trial['trial']}" + (" *" if won else ""), justify="right")
    for key in keys:
        table.add_row(key.removeprefix("distill."), *(short(trial["params"].get(key)) for trial in best))
    return table


def _scores_table(result: SearchResult, others: list[str]) -> Table:
    """The set beside its baselines, and on other architectures of these names."""
    winner = result.winner
    rows = (
        ("distilled", (winner.score, winner.test), winner.cross, "bold green"),
        ("random real images", (winner.random, winner.random_test), winner.cross_random, None),
    )
    table = new_table("set", "validation", "test", *others, "n")
    for name, scores, cross, style in rows:
        cells = [*scores, *([] if cross is None else (cross.others[other] for other in others))]
        table.add_row(name, *(percent(score.mean, score.std) for score in cells), _counts(cells), style=style)
    start = winner.start_score
    missing = ["-"] * len(others)
    table.add_row(
        "its own starting point",
        percent(start.mean, start.std if start.n > 1 else None),
        "-",
        *missing,
        str(start.n),
    )
    return table


def _others_table(result: SearchResult) -> Table:
    """On architectures that the set was not distilled with, where these do not fit beside its own."""
    winner = result.winner
    assert winner.cross is not None
    table = new_table("other architectures, validation", *winner.cross.others, "n")
    rows = (("distilled", winner.cross, "bold green"), ("random real images", winner.cross_random, None))
    for name, cross, style in rows:
        cells = [] if cross is None else list(cross.others.values())
        table.add_row(name, *(percent(one.mean, one.std) for one in cells), _counts(cells), style=style)
    return table


def _counts(scores: Sequence[Score]) -> str:
    return ", ".join(str(n) for n in dict.fromkeys(score.n for score in scores))


def _finalists_table(result: SearchResult) -> Table:
    """What the finalists scored in their trials, and again with fresh seeds."""
    table = new_table("trial", "in the trial", "n", "scored again", "n", "others", "", title="finalists, validation",
                      right=(0, 2, 4))  # fmt: skip
    for row in result.finalists:
        table.add_row(
            str(row["trial"]) + (" *" if row["chosen"] else ""),
            percent(row["trial_accuracy"], row["trial_accuracy_std"]), str(row["trial_n"]),
            percent(row["val_accuracy"], row["val_accuracy_std"]), str(row["n"]), percent(row["cross_mean"]),
            "" if row["fit"] else "not fit to be best",
            style="bold green" if row["chosen"] else None,
        )  # fmt: skip
    return table


def _cost_table(result: SearchResult) -> Table:
    table = new_table("where the time went", "seconds", "share", right=(1, 2))
    by_time = sorted(result.cost.items(), key=lambda item: -item[1])
    for part, seconds in by_time:
        if seconds:
            table.add_row(PART_NAMES.get(part, part), f"{seconds:.1f}", percent(seconds / result.seconds))
    table.add_section()
    table.add_row("all", f"{result.seconds:.1f}", percent(1.0))
    return table


def print_plan(plan: Plan, changed: list[Setting], *, as_json: bool) -> None:
    """The space, the counts and the cost of a search, with the settings that differ from the code's defaults."""
    if as_json:
        print_json({**plan.plain(), "settings": plain_settings(changed)})
        return
    table = new_table("searched", "range", title=f"plan for {plan.name}")
    for row in plan.space.items():
        table.add_row(*row)
    console = out()
    if changed:
        console.print(settings_table(changed, "settings that differ from the defaults"))
    console.print(table)
    data = plan.data
    shape = " x ".join(str(size) for size in data["image_shape"])
    console.print(
        f"data: {data['train']} train, {data['validation']} validation, {data['test']} test (sealed), "
        f"{data['classes']} classes of {shape}"
    )
    console.print(", ".join(f"{key}: {value}" for key, value in plan.machine.items()))
    if plan.chosen:
        table = new_table(
            "setting", "chosen by counted work", title=f"what the budget's limits decide for {plan.name}"
        )
        for key, words in plan.chosen.items():
            table.add_row(key, words)
        console.print(table)
    console.print(
        f"{plan.num_trials} trials of {plan.num_iterations} iterations at {1e3 * plan.seconds_per_iteration:.1f} ms, "
        f"{plan.seconds_per_score:.1f} s for each evaluation network"
    )
    if plan.preparation is not None:
        console.print(
            f"{plan.preparation['summary']} ({duration(plan.preparation['estimated_seconds'])}, "
            f"{decimal(plan.preparation['bytes'])}); the space asks for this in {plan.preparation['variants']} ways"
        )
        if plan.preparation["shortage"]:
            console.print(plan.preparation["shortage"], style="yellow", markup=False)
    if plan.cross is not None:
        console.print(f"other architectures ({', '.join(plan.cross)}): {sum(plan.cross.values())} networks")
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in plan.parts.items() if seconds)
    console.print(
        f"about {duration(plan.estimated_seconds)} if nothing is pruned ({parts}); "
        f"{plan.peak_memory_bytes / 2**30:.1f} GiB of memory so far"
    )
