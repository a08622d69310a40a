"""Plots as inline SVG, drawn by Altair (Vega-Lite) when a page is written: no script and no network to look at them.

What is plotted is decided by :mod:`study.search` and :mod:`study.runs`; this module knows kinds of plots only. Every
accuracy is in percent.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair

Rows = Sequence[Mapping[str, Any]]

COLOURS = ("#2166ac", "#d6762b", "#1b7837", "#8e44ad", "#b2182b", "#0e8f8f", "#7a5c2e", "#c2418e")
GREYS = ("#9a9a9a", "#c6c6c6", "#6f6f6f")
"""For random images."""
WIDTH = 300
"""Pixels of the plotted area: with its labels a chart fits a telephone without being shrunk."""
STEP = 15
"""Pixels of a bar."""
LABEL_WIDTH = 170
MOST_TICKS = 10
_numbers = itertools.count()


def history(rows: Rows, ylabel: str) -> str:
    """Trials in their order as dots, and the best value so far as a line of steps.

    Args:
        rows: ``trial``, ``value``, ``best`` and ``state`` of each.
        ylabel: what ``value`` is.

    Example:
        >>> history([{"trial": 0, "value": 91.0, "best": 91.0, "state": "complete"}], "accuracy, %").startswith("<svg")
        True
    """
    import altair as alt

    base = _chart(rows).encode(x=_trials(rows))
    line = base.mark_line(interpolate="step-after", color="#999999").encode(y=_zoomed("best", ylabel))
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=_zoomed("value", ylabel), color=_colour("state"), shape=alt.Shape("state:N")
    )
    return _svg((line + dots).properties(width=WIDTH, height=200))


def rungs(rows: Rows, ylabel: str) -> str:
    """Scores along each trial: ``trial``, ``percent`` of iterations done and ``value``."""
    import altair as alt

    chart = _chart(rows).mark_line(point=True)
    x = alt.X("percent:Q", title="iterations done, %", scale=alt.Scale(zero=False))
    return _svg(
        chart.encode(x=x, y=_zoomed("value", ylabel), color=_colour("trial")).properties(
            width=WIDTH, height=200
        )
    )


def importance(rows: Rows) -> str:
    """Horizontal bars: ``name`` of a hyperparameter and its ``share`` of what tells trials apart, in percent."""
    import altair as alt

    y = alt.Y("name:N", sort="-x", title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH))
    x = alt.X("share:Q", title="share, %", scale=alt.Scale(domain=[0, 100]))
    bars = _chart(rows).mark_bar(color=COLOURS[0]).encode(x=x, y=y)
    text = bars.mark_text(align="left", dx=3, color="#333333").encode(text=alt.Text("share:Q", format=".0f"))
    return _svg((bars + text).properties(width=WIDTH - 60, height=alt.Step(22)))


def slices(rows: Rows, ylabel: str) -> str:
    """One panel a hyperparameter: ``name``, its value as ``number`` or ``word``, and the ``value`` of the trial."""
    import altair as alt

    panels = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        numbers = [row["number"] for row in own if row.get("number") is not None]
        x: Any = alt.X("word:N", title=name)
        if len(numbers) == len(own):
            wide = min(numbers) > 0 and max(numbers) / min(numbers) >= 10
            scale = alt.Scale(type="log") if wide else alt.Scale(zero=False)
            x = alt.X("number:Q", title=name, scale=scale, axis=alt.Axis(tickCount=4, labelOverlap=True))
        dots = _chart(own).mark_point(filled=True, size=50, color=COLOURS[0])
        panels.append(dots.encode(x=x, y=_zoomed("value", ylabel)).properties(width=WIDTH, height=120))
    return _svg(alt.vconcat(*panels))


def front(rows: Rows, xlabel: str, ylabel: str) -> str:
    """Trials by two objectives ``x`` and ``y`` and their number; ``kind`` tells those on the front, joined by steps.

    Rows are in the order of ``x``, so that a step shows what was reached to the left of each.
    """
    import altair as alt

    base = _chart(rows).encode(x=_zoomed("x", xlabel, kind=alt.X), y=_zoomed("y", ylabel))
    colours = {"on the front": COLOURS[0], "other trials": "#777777"}
    kinds = list(colours)
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=list(colours.values())),
        legend=alt.Legend(orient="top"),
    )
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(color=colour)
    names = base.mark_text(dx=10, dy=-8, color="#333333").encode(text="trial:N")
    reached = base.transform_filter(alt.datum.kind == kinds[0])
    line = reached.mark_line(interpolate="step-before", color=COLOURS[0], strokeWidth=1.2, order=False)
    return _svg((line + dots + names).properties(width=WIDTH, height=240))


def bars(rows: Rows, series: Sequence[str], xlabel: str) -> str:
    """Grouped horizontal bars with error bars on one axis of 0 to 100 percent.

    Args:
        rows: ``group`` (an architecture), ``series`` (a search or random images), ``mean``, and ``low`` and ``high``,
            the ends of its error bar, or None where the deviation is not known.
        series: order of the bars of a group; names that begin with ``random`` are grey.
        xlabel: what is measured.
    """
    import altair as alt

    order = list(series)
    scale = alt.Scale(domain=order, range=colours_of(order))
    groups = list(dict.fromkeys(row["group"] for row in rows))
    y = alt.Y(
        "group:N",
        title=None,
        sort=groups,
        axis=alt.Axis(labelLimit=LABEL_WIDTH),
        scale=alt.Scale(paddingInner=0.25),
    )
    offset = alt.YOffset("series:N", sort=order)
    base = _chart(rows).encode(y=y, yOffset=offset)
    scale_of_all, axis = alt.Scale(domain=[0, 100]), alt.Axis(tickCount=5)
    x = alt.X("mean:Q", title=xlabel, scale=scale_of_all, axis=axis)
    legend = alt.Legend(orient="top", columns=1, labelLimit=260, symbolLimit=0)
    drawn = base.mark_bar().encode(
        x=x, color=alt.Color("series:N", title=None, scale=scale, sort=order, legend=legend)
    )
    known = base.transform_filter("datum.low !== null")
    spread = known.mark_rule(strokeWidth=1.5, color="#222222").encode(x="low:Q", x2="high:Q")
    ends = [
        known.mark_tick(color="#222222", thickness=1.5, size=STEP * 0.6).encode(x=f"{end}:Q")
        for end in ("low", "high")
    ]
    return _svg(
        alt.layer(drawn, spread, *ends).properties(width=WIDTH, height=alt.Step(STEP, **{"for": "offset"}))
    )


def stacks(rows: Rows, xlabel: str) -> str:
    """Horizontal stacked bars: ``name``, ``part`` and ``amount``, parts in the order of the rows."""
    import altair as alt

    parts = list(dict.fromkeys(row["part"] for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    ordered = [{**row, "rank": parts.index(row["part"])} for row in rows]
    y = alt.Y("name:N", title=None, sort=names, axis=alt.Axis(labelLimit=LABEL_WIDTH))
    scheme = alt.Scale(domain=parts, scheme="tableau20")
    colour = alt.Color("part:N", title=None, scale=scheme, legend=alt.Legend(orient="bottom", columns=4))
    drawn = _chart(ordered).mark_bar().encode(
        x=alt.X("amount:Q", title=xlabel), y=y, color=colour, order="rank:Q"
    )  # fmt: skip
    return _svg(drawn.properties(width=WIDTH, height=alt.Step(24)))


def colours_of(series: Sequence[str]) -> list[str]:
    """A colour for each name; random images are grey."""
    strong, grey = itertools.cycle(COLOURS), itertools.cycle(GREYS)
    return [next(grey) if name.startswith("random") else next(strong) for name in series]


def _chart(rows: Rows) -> altair.Chart:
    import altair as alt

    return alt.Chart(alt.Data(values=[dict(row) for row in rows]))


def _trials(rows: Rows) -> Any:
    import altair as alt

    last = max(row["trial"] for row in rows)
    # Left to itself the axis repeats whole numbers where there are few trials.
    values = list(range(0, last + 1, -(-(last + 1) // MOST_TICKS)))
    return alt.X(
        "trial:Q",
        title="trial",
        axis=alt.Axis(values=values, format="d"),
        scale=alt.Scale(nice=False, padding=8),
    )


def _zoomed(name: str, title: str, kind: Any = None) -> Any:
    import altair as alt

    return (kind or alt.Y)(f"{name}:Q", title=title, scale=alt.Scale(zero=False, padding=8))


def _colour(name: str) -> Any:
    import altair as alt

    scale = alt.Scale(range=list(COLOURS))
    return alt.Color(f"{name}:N", title=None, scale=scale, legend=alt.Legend(orient="top", columns=6))


def _svg(chart: Any) -> str:
    """The drawing as text, scaled by its page; ids are its own, since several drawings share a page."""
    buffer = io.StringIO()
    # A browser's letters may be wider than those that the drawing was measured with.
    chart.properties(padding={"left": 26, "right": 12, "top": 5, "bottom": 5}).configure_axis(
        labelFontSize=11, titleFontSize=11, titleFontWeight="normal"
    ).configure_legend(labelFontSize=11).configure_view(stroke=None).save(buffer, format="svg")
    text, mark = buffer.getvalue(), f"chart{next(_numbers)}-"
    text = re.sub(r'\bid="', f'id="{mark}', text)
    text = re.sub(r"url\(#", f"url(#{mark}", text)
    text = re.sub(r'href="#', f'href="#{mark}', text)
    # What a drawing says is read from its labels; the marks' own descriptions would double its size.
    return re.sub(r' (?:aria-[a-z]+|role|aria-roledescription)="[^"]*"', "", text)
