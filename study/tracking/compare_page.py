"""``compare.html``: every trial of a search side by side, in one file that needs nothing else.

MLflow's own comparison shows no pictures of three or more runs, so the parent run carries this page.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["CompareRow", "render_compare_page"]


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
        link: address of its run, or empty.
        badge: a word or two beside its name, or empty.
    """

    name: str
    state: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    grid: bytes | None = None
    is_baseline: bool = False
    link: str = ""
    badge: str = ""


def render_compare_page(
    title: str, rows: Sequence[CompareRow], *, best: str | None = None, subtitle: str = ""
) -> str:
    """A self-contained HTML page with sortable columns.

    Args:
        title: heading, such as the name of the search.
        rows: trials and baselines; baselines are shown first and stay there.
        best: name of the row to highlight.
        subtitle: a line below the heading, such as how the random baseline was drawn.

    Returns:
        HTML text; everything in it is escaped, pictures are inline.
    """
    trials = [row for row in rows if not row.is_baseline]
    baselines = [row for row in rows if row.is_baseline]
    shared, varied = _split_params(trials)
    scores = list(dict.fromkeys(name for row in rows for name in row.scores))
    pictures = any(row.grid is not None for row in rows)
    heads = ["trial", "state", *(["images"] if pictures else []), *scores, *varied]
    header = "".join(
        f'<th scope="col"><button data-column="{index}">{escape(head)}</button></th>'
        if head != "images"
        else '<th scope="col">images</th>'
        for index, head in enumerate(heads)
    )
    body = "\n".join(_row(row, scores, varied, pictures, row.name == best) for row in trials)
    foot = "\n".join(_row(row, scores, varied, pictures, False) for row in baselines)
    constant = ", ".join(f"{escape(key)} = {escape(_text(value))}" for key, value in shared.items())
    return _PAGE.format(
        title=escape(title),
        subtitle=f"<p>{escape(subtitle)}</p>" if subtitle else "",
        shared=f"<p>The same in every trial: {constant}.</p>" if constant else "",
        header=header,
        baselines=foot,
        trials=body,
    )


def _split_params(trials: Sequence[CompareRow]) -> tuple[dict[str, object], list[str]]:
    """Parameters with one value throughout, and the names of those that differ."""
    names = list(dict.fromkeys(name for row in trials for name in row.params))
    shared: dict[str, object] = {}
    for name in names:
        values = {_text(row.params.get(name)) for row in trials}
        if len(values) == 1 and len(trials) > 1:
            shared[name] = trials[0].params.get(name)
    return shared, [name for name in names if name not in shared]


def _row(row: CompareRow, scores: list[str], varied: list[str], pictures: bool, is_best: bool) -> str:
    name = escape(row.name) + (' <span class="badge">best</span>' if is_best else "")
    if row.badge:
        name += f' <span class="badge plain">{escape(row.badge)}</span>'
    if row.link:
        name = f'<a href="{escape(row.link, quote=True)}" target="_blank" rel="noopener">{name}</a>'
    cells = [
        _cell(name, row.name),
        _cell(escape(row.state.lower()), row.state, f"state {row.state.lower()}"),
    ]
    if pictures:
        cells.append(_picture(row))
    cells += [_cell(_score(row.scores.get(key)), row.scores.get(key), "number") for key in scores]
    for key in varied:
        value = row.params.get(key)
        cells.append(_cell(escape(_text(value)), value, "number" if _is_number(value) else ""))
    opening = '<tr class="best">' if is_best else "<tr>"
    return f"{opening}{''.join(cells)}</tr>"


def _cell(content: str, value: object, css: str = "") -> str:
    kind = f' class="{escape(css, quote=True)}"' if css else ""
    shown = "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
    return f'<td{kind} data-value="{escape(shown, quote=True)}">{content}</td>'


def _picture(row: CompareRow) -> str:
    if row.grid is None:
        return "<td></td>"
    data = base64.b64encode(row.grid).decode("ascii")
    alt = escape(f"images of {row.name}", quote=True)
    return f'<td><img alt="{alt}" title="click to enlarge" src="data:image/png;base64,{data}"></td>'


def _score(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    # Accuracies, and gains of them, lie within one; anything larger is a time or a count.
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.4g}"


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --best: #2e9e5a26; --base: #8882; }}
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem; }}
h1 {{ font-size: 1.3rem; margin: 0 0 .3rem; }}
p {{ margin: .2rem 0; opacity: .8; }}
.scroll {{ overflow-x: auto; margin-top: 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ border-bottom: 1px solid var(--line); padding: .35rem .7rem; text-align: left; vertical-align: middle; }}
th {{ position: sticky; top: 0; background: Canvas; white-space: nowrap; }}
th button {{ all: unset; cursor: pointer; font-weight: 600; }}
th button:focus-visible {{ outline: 2px solid; }}
th[aria-sort=ascending] button::after {{ content: " ▲"; }}
th[aria-sort=descending] button::after {{ content: " ▼"; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
td img {{ display: block; max-height: 200px; max-width: 420px;
  image-rendering: pixelated; cursor: zoom-in; }}
td img.large {{ max-height: none; max-width: none; cursor: zoom-out; }}
tr.best {{ background: var(--best); }}
.baselines tr {{ background: var(--base); font-style: italic; }}
.badge {{ background: #2e9e5a; color: #fff; border-radius: 1em; padding: .05em .6em; font-size: .8em; }}
.badge.plain {{ background: #2166ac; }}
.state.pruned {{ opacity: .6; }}
.state.fail {{ color: #c0392b; }}
</style>
</head>
<body>
<h1>{title}</h1>
{subtitle}
{shared}
<div class="scroll">
<table>
<thead><tr>{header}</tr></thead>
<tbody class="baselines">
{baselines}
</tbody>
<tbody id="trials">
{trials}
</tbody>
</table>
</div>
<script>
const body = document.getElementById("trials");
const heads = [...document.querySelectorAll("th")];
function sortBy(column, descending) {{
  const key = row => row.cells[column].dataset.value ?? "";
  const rows = [...body.rows].sort((a, b) => {{
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return descending ? -order : order;
  }});
  body.append(...rows);
  heads.forEach((head, index) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}}
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {{
  const column = Number(button.dataset.column);
  sortBy(column, heads[column].getAttribute("aria-sort") !== "descending");
}}));
document.querySelectorAll("td img").forEach(image =>
  image.addEventListener("click", () => image.classList.toggle("large")));
</script>
</body>
</html>
"""
