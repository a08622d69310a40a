"""What the page of a search says of it, in Markdown: what was searched, what won, how to fetch it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from study.core.records import Score
from study.core.words import percent
from study.evaluation.architectures import CrossScore
from study.runs.config.configure import RunConfig
from study.runs.registration.results import WinnerResult
from study.tracking.references import BEST

NOTE_TAG = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run."""
LINKS = {
    "runs": "all trials in a table",
    "charts": "their curves and images",
    "search": "trials side by side",
}


def describe_start(config: RunConfig, searched: bool = True) -> str:
    """The description while nothing has won yet."""
    doing = (
        f"A search over {', '.join(f'`{key}`' for key in config.space)}" if searched else "One distillation"
    )
    return f"{_title(config)}\n\n{doing}. It has not ended: no set is registered."


def describe_winner(
    config: RunConfig, winner: WinnerResult, links: Mapping[str, str], num_trials: int, choice: str = ""
) -> str:
    """The description of a search or a distillation that ended.

    Args:
        config: of the run.
        winner: the registered set.
        links: addresses in the UI by name; they become relative to the page, wherever it is served.
        num_trials: that counted.
        choice: how the winner was chosen, in words; empty without a search.
    """
    name, version = winner.set.split("/")
    others = [] if winner.cross is None else list(winner.cross.others)
    head = ["", "validation", "test", *others]
    what = "winner" if winner.trial is None else f"winner, trial {winner.trial}"
    rows = [
        [what, *_cells(winner.score, winner.test, winner.cross, others)],
        ["random real images", *_cells(winner.random, winner.random_test, winner.cross_random, others)],
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    gain = 100 * (winner.test.mean - winner.random_test.mean)
    summary = f"On test **{percent(winner.test.mean, winner.test.std)}**, {gain:+.1f} points over random real images."
    parts = [
        # The page folds what is longer than a few lines.
        f"{_title(config)}: [`{winner.set}`](#/models/{quote(name)}/versions/{version})",
        f"{num_trials} trials. {summary}" if choice else summary,
        f"Fetch it: `study sets download {f'{name}@{BEST}' if winner.is_best else winner.set} --output my-set`",
        "\n".join(f"- **Warning**: {text}." for text in (*winner.fitness.faults, *winner.fitness.warnings)),
        table,
        f"Chosen: {choice}." if choice else "",
        f"The alias `{BEST}`: {winner.note}.",
        ", ".join(f"[{words}]({_relative(links[key])})" for key, words in LINKS.items() if key in links),
    ]
    return "\n\n".join(part for part in parts if part)


def _title(config: RunConfig) -> str:
    images = "image" if config.ipc == 1 else "images"
    return f"**{config.method} on {config.data_name}, {config.ipc} {images} a class**, budget {config.budget}"


def _cells(validation: Score, test: Score, cross: CrossScore | None, others: list[str]) -> list[str]:
    scores = [validation, test, *([] if cross is None else (cross.scores[name] for name in others))]
    return [percent(score.mean, score.std, score.n) for score in scores]


def _relative(link: str) -> str:
    """A link of the UI as seen from any of its pages."""
    return link[link.index("#/") :] if "#/" in link else link
