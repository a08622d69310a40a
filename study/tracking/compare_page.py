"""``compare.html``: every trial of a search side by side, in one file that needs nothing else.

MLflow's own comparison shows no pictures of three or more runs, so the parent run carries this page.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from study.core.templates import render
from study.core.words import percent


@dataclass(frozen=True)
class CompareRow:
    """One line of the page.

    Attributes:
        name: trial number, or what a baseline is called.
        state: ``COMPLETE``, ``PRUNED``, ``FAIL``, or empty for a baseline.
        params: searched values.
        scores: numbers by column; accuracies as fractions.
        grid: PNG bytes of its images, or None.
        is_baseline: set apart from the trials, and left out of sorting.
        badge: a word or two beside its name, or empty.
    """

    name: str
    state: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    grid: bytes | None = None
    is_baseline: bool = False
    badge: str = ""


def render_compare_page(
    title: str, rows: Sequence[CompareRow], *, best: str | None = None, subtitle: str = ""
) -> str:
    """A self-contained HTML page with sortable columns; text is escaped, pictures are inline.

    Args:
        title: heading, such as the name of the search.
        rows: trials and baselines; baselines are shown first and stay there.
        best: name of the row to highlight.
        subtitle: a line below the heading, such as how the random baseline was drawn.
    """
    trials = [row for row in rows if not row.is_baseline]
    shared, varied = _split_params(trials)
    scores = list(dict.fromkeys(name for row in rows for name in row.scores))
    pictures = ["images"] if any(row.grid is not None for row in rows) else []
    return render(
        Path(__file__).with_name("templates"), "compare.html.j2", title=title, subtitle=subtitle, best=best,
        trials=trials, baselines=[row for row in rows if row.is_baseline], shared=shared, varied=varied,
        scores=scores, heads=["trial", "state", *pictures, *scores, *varied],
        score=_score, text=_text, sort_key=_sort_key, is_number=_is_number,
        base64=lambda data: base64.b64encode(data).decode("ascii"),
    )  # fmt: skip


def _split_params(trials: Sequence[CompareRow]) -> tuple[dict[str, object], list[str]]:
    """Parameters with one value throughout, and the names of those that differ."""
    names = list(dict.fromkeys(name for row in trials for name in row.params))
    shared: dict[str, object] = {}
    for name in names:
        values = {_text(row.params.get(name)) for row in trials}
        if len(values) == 1 and len(trials) > 1:
            shared[name] = trials[0].params.get(name)
    return shared, [name for name in names if name not in shared]


def _sort_key(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _score(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    # Accuracies, and gains of them, lie within one; anything larger is a time or a count.
    return percent(value) if abs(value) <= 1 else f"{value:.4g}"


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
