"""The table of a report: its cells once, as text for people and as numbers to sort by, and as Markdown and LaTeX."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from study.core.words import duration, percent
from study.runs.catalog.measures import Measured
from study.runs.report.entries import Entry


@dataclass(frozen=True)
class Cell:
    """Text, what it is sorted by (None comes last), and how many networks it is the mean of, in words."""

    text: str
    key: float | str | None
    is_number: bool = False
    count: str = ""

    @property
    def whole(self) -> str:
        """All of it in a line."""
        return f"{self.text} ({self.count})" if self.count else self.text


def _score(key: str) -> Callable[[Entry], Cell]:
    return lambda entry: score_cell(entry.scores[key])


def score_cell(score: Measured) -> Cell:
    """A score in percent, with deviation and n where they are known."""
    count = "" if score.n is None or score.mean is None else f"n = {score.n}"
    return Cell(percent(score.mean, score.std), score.mean, is_number=True, count=count)


def _gain(entry: Entry) -> Cell:
    own, random = entry.scores["test"].mean, entry.scores["random_test"].mean
    if own is None or random is None:
        return Cell("-", None, is_number=True)
    return Cell(f"{100 * (own - random):+.1f} points", own - random, is_number=True)


def _words(read: Callable[[Entry], str]) -> Callable[[Entry], Cell]:
    return lambda entry: Cell(read(entry) or "-", read(entry) or None)


def _count(read: Callable[[Entry], float | None], show: Callable[[float], str]) -> Callable[[Entry], Cell]:
    def cell(entry: Entry) -> Cell:
        value = read(entry)
        return Cell("-" if value is None else show(value), value, is_number=True)

    return cell


COLUMNS: tuple[tuple[str, Callable[[Entry], Cell]], ...] = (
    ("search", _words(lambda entry: entry.name)),
    ("data", _words(lambda entry: entry.run.tags.get("study.dataset", ""))),
    (
        "images a class",
        _count(lambda entry: float(entry.run.tags.get("study.ipc") or 0) or None, "{:.0f}".format),
    ),
    ("method", _words(lambda entry: entry.run.tags.get("study.method", ""))),
    ("test", _score("test")),
    ("random images, test", _score("random_test")),
    ("gain", _gain),
    ("validation", _score("validation")),
    ("random images, validation", _score("random_validation")),
    ("other networks", _score("cross")),
    ("random images, other networks", _score("random_cross")),
    ("trials", _count(lambda entry: float(len(entry.trials)) or None, "{:.0f}".format)),
    ("time", _count(lambda entry: entry.seconds, duration)),
    ("budget", _words(lambda entry: entry.run.tags.get("study.budget", ""))),
    ("set", _words(lambda entry: entry.run.tags.get("study.set", ""))),
)
CAPTION = (
    "Scores in percent, mean ± deviation (ddof 1), n networks trained from scratch. Random images: as many real images "
    "drawn at random, trained on by the same recipe. Other networks: the mean over architectures that the set was not "
    "distilled with, on validation."
)


def table_of(entries: Sequence[Entry]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows, without columns that no row fills."""
    full = [(heading, [read(entry) for entry in entries]) for heading, read in COLUMNS]
    kept = [(heading, cells) for heading, cells in full if any(cell.key is not None for cell in cells)]
    return [heading for heading, _ in kept], [
        list(row) for row in zip(*(cells for _, cells in kept), strict=True)
    ]


def markdown_table(entries: Sequence[Entry]) -> str:
    """The table in GitHub's Markdown, and its caption; text from the store cannot break out of a cell."""
    from tabulate import tabulate

    headings, rows = table_of(entries)
    text = [[html.escape(cell.whole, quote=False).replace("|", "\\|") for cell in row] for row in rows]
    drawn = tabulate(text, headings, tablefmt="github", disable_numparse=True, colalign=_alignment(rows))
    return f"{drawn}\n\n{CAPTION}\n"


def latex_table(entries: Sequence[Entry]) -> str:
    """The table for LaTeX with ``booktabs``; special characters are escaped."""
    from tabulate import tabulate

    headings, rows = table_of(entries)
    text = [[cell.whole for cell in row] for row in rows]
    drawn = tabulate(
        text, headings, tablefmt="latex_booktabs", disable_numparse=True, colalign=_alignment(rows)
    )
    drawn = drawn.replace("±", r"$\pm$")
    caption = CAPTION.replace("±", r"$\pm$")
    return f"% needs \\usepackage{{booktabs}}\n{drawn}\n% {caption}\n"


def _alignment(rows: Sequence[Sequence[Cell]]) -> list[str]:
    return ["right" if cell.is_number else "left" for cell in rows[0]] if rows else []
