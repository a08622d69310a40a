"""Addresses in the MLflow UI that open the right view, and colours that tell runs apart."""

from __future__ import annotations

import colorsys
from urllib.parse import quote

__all__ = ["DEFAULT_BASE", "deep_links", "registry_link", "run_color"]

DEFAULT_BASE = "http://127.0.0.1:5000"
"""Where ``study ui`` serves unless the port is taken."""

_WORKFLOW = "workflowType=machine_learning"
_GOLDEN = 0.61803398875


def deep_links(base: str, experiment_id: str, parent: str | None = None) -> dict[str, str]:
    """Links by name.

    Args:
        base: address of the UI, without a slash at its end.
        experiment_id: of the experiment in that store.
        parent: run id of a search; its trials are then listed flat, best first.

    Returns:
        ``runs`` (table), ``charts`` (curves and images side by side), ``sets`` (the registry), and with
        a parent also ``search`` (the page that compares its trials with their images).
    """
    base = base.rstrip("/")
    # The plain landing page opens in a mode for language models and hides the trials below their parent;
    # filtering on the parent and sorting by a metric lists them flat.
    query = _WORKFLOW
    if parent is not None:
        condition = quote(f"tags.mlflow.parentRunId = '{parent}'", safe="")
        query += f"&searchFilter={condition}"
    query += f"&orderByKey={quote('metrics.`objective`', safe='')}&orderByAsc=false"
    runs = f"{base}/#/experiments/{experiment_id}/runs?{query}"
    links = {
        "runs": runs,
        "charts": f"{runs}&compareRunsMode=CHART",
        "sets": registry_link(base),
    }
    if parent is not None:
        page = f"{base}/#/experiments/{experiment_id}/runs/{parent}"
        links["search"] = f"{page}/artifacts/compare.html?{_WORKFLOW}"
    return links


def registry_link(base: str) -> str:
    """The page of all registered sets."""
    return f"{base.rstrip('/')}/#/models"


def run_color(index: int) -> str:
    """A colour ``#rrggbb`` for a trial; neighbours differ strongly, and none is too pale for white."""
    hue = (index * _GOLDEN) % 1.0
    lightness = (0.42, 0.56, 0.34)[index % 3]
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, 0.65))
    return f"#{red:02x}{green:02x}{blue:02x}"
