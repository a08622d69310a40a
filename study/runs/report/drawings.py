"""Pictures of a report: bars over architectures, seconds by part, and image grids that keep the page small."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from study.core import charts
from study.runs.catalog.measures import Measured
from study.runs.report.entries import Entry

GRIDS_BYTES = 1_500_000
"""For all pictures of a page together."""
RANDOM = "random real images"
LOSSY = (90, 70, 50, 30)
MOST_PIXELS = 560


def architecture_bars(entries: Sequence[Entry]) -> str | None:
    """Sets of the same data on their own network and on others, random real images beside; None without a score."""
    rows: list[dict[str, Any]] = []
    for entry in entries:
        own = {f"{entry.model}, its own": entry.scores["validation"], **entry.others}
        rows += [_bar(group, entry.name, score) for group, score in own.items()]
    for name, scores in _random(entries).items():
        rows += [_bar(group, name, score) for group, score in scores.items()]
    known = [row for row in rows if row["mean"] is not None]
    if not known:
        return None
    # Those of one architecture stand together, also where searches were not scored on the same ones.
    groups = list(dict.fromkeys(row["group"] for row in known))
    ordered = sorted(known, key=lambda row: groups.index(row["group"]))
    series = list(dict.fromkeys(row["series"] for row in known))
    return charts.bars(ordered, series, "validation, %")


def _random(entries: Sequence[Entry]) -> dict[str, dict[str, Measured]]:
    """Random real images by architecture, once for all searches that measured the same, by the name of their bars."""
    found: list[tuple[dict[str, Measured], list[str]]] = []
    for entry in entries:
        own = {f"{entry.model}, its own": entry.scores["random_validation"], **entry.random_others}
        if all(score.mean is None for score in own.values()):
            continue
        same = next((names for scores, names in found if scores == own), None)
        if same is None:
            found.append((own, [entry.name]))
        else:
            same.append(entry.name)
    if len(found) == 1:
        return {RANDOM: found[0][0]}
    # Searches whose recipes or seeds differ have baselines of their own.
    return {_random_name(names): scores for scores, names in found}


def _random_name(names: Sequence[str]) -> str:
    # A legend is as wide as a telephone.
    return f"random for {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _bar(group: str, series: str, score: Measured) -> dict[str, Any]:
    mean, std = score.mean, score.std
    if mean is None:
        return {"group": group, "series": series, "mean": None, "low": None, "high": None}
    # A bar of deviation that leaves the axis would push it apart.
    ends = (None, None) if std is None else (100 * max(mean - std, 0.0), 100 * min(mean + std, 1.0))
    return {"group": group, "series": series, "mean": 100 * mean, "low": ends[0], "high": ends[1]}


def cost_bars(entries: Sequence[Entry]) -> str | None:
    """Seconds of every search by part; parts that nowhere take a hundredth are left out."""
    most = max((sum(entry.cost.values()) for entry in entries), default=0.0)
    rows = [
        {"name": entry.name, "part": part, "amount": seconds}
        for entry in entries
        for part, seconds in entry.cost.items()
        if seconds >= most / 100
    ]
    return charts.stacks(rows, "seconds") if rows else None


def picture_address(png: bytes, room: int) -> str:
    """A ``data:`` address of a picture, in at most about ``room`` bytes: lossless where that is small enough."""
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(png))
    image = image if image.mode in {"L", "RGB"} else image.convert("RGB")
    data = _webp(image, lossless=True)
    while len(data) > room:
        image.thumbnail((MOST_PIXELS, MOST_PIXELS))
        data = next((one for quality in LOSSY if len(one := _webp(image, quality=quality)) <= room), data)
        if len(data) <= room or max(image.size) <= 120:
            break
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)))
        data = _webp(image, quality=LOSSY[-1])
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"


def _webp(image: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", **how)
    return buffer.getvalue()
