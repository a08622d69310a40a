"""Addresses in the MLflow UI that open the right view, and colours that tell runs apart."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

DEFAULT_PORT = 5000
DEFAULT_BASE = f"http://127.0.0.1:{DEFAULT_PORT}"
"""Where ``study ui`` serves unless the port is taken."""

COMPARE_PAGE = "compare.html"
"""The artifact of a search that compares its trials."""
SEARCHES = "searches"
"""Key of the stored view of an experiment that shows its searches alone."""
_WORKFLOW = "workflowType=machine_learning"
_ORDER = "metrics.`objective`"
_GOLDEN = 0.61803398875


def deep_links(
    base: str, experiment_id: str, parent: str | None = None, view: str | None = None
) -> dict[str, str]:
    """Links: ``experiment`` (searches side by side), ``runs`` (table), ``charts`` (curves and images), ``sets``.

    ``experiment`` takes the view :data:`SEARCHES` (see :func:`searches_view`), ``sets`` is the registry; all open in
    MLflow's mode for machine learning.

    Args:
        base: address of the UI.
        experiment_id: of the experiment in that store.
        parent: run id of a search. Its trials are then listed flat, best first, and ``search`` is the page that
            compares them with their images.
        view: key of a stored view of that search, see :func:`runs_view`.
    """
    page = f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs"
    # The plain landing page opens in a mode for language models and hides the trials below their parent;
    # filtering on the parent and sorting by a metric lists them flat.
    facets = {"orderByKey": _ORDER, "orderByAsc": "false"}
    if parent is not None:
        facets = {"searchFilter": _children_of(parent), **facets}
    query = "&".join([_WORKFLOW, *(f"{key}={quote(value, safe='')}" for key, value in facets.items())])
    links = {
        "experiment": f"{page}?{_WORKFLOW}&viewStateShareKey={SEARCHES}",
        # A stored view is ignored where the address says more than its key.
        "runs": f"{page}?{query}" if view is None else f"{page}?{_WORKFLOW}&viewStateShareKey={view}",
        "charts": f"{page}?{query}&compareRunsMode=CHART",
        "sets": registry_link(base),
    }
    if parent is not None:
        links["search"] = f"{page}/{parent}/artifacts/{COMPARE_PAGE}?{_WORKFLOW}"
    return links


def runs_view(
    parent: str, metrics: Sequence[str], params: Sequence[str], tags: Sequence[str]
) -> dict[str, Any]:
    """A view of a search's trials as the UI's own "share view" stores it: the table with these columns.

    No address can choose columns, and by default the table shows neither metrics nor parameters.
    """
    named = {"tags": tags, "metrics": metrics, "params": params}
    columns = [f"{kind}.`{name}`" for kind, names in named.items() for name in names]
    order = {"orderByKey": _ORDER, "orderByAsc": False}
    return {"searchFilter": _children_of(parent), **order, "selectedColumns": columns}


def searches_view() -> dict[str, Any]:
    """A view of an experiment as the UI stores it: its searches, and how far each is above random images."""
    metrics = ("val/accuracy", "test/accuracy", "random/test_accuracy", "cross/mean", "random/cross_mean")
    columns = ["tags.`study.method`", *(f"metrics.`{name}`" for name in metrics), "tags.`study.set`"]
    order = {"orderByKey": "metrics.`test/accuracy`", "orderByAsc": False}
    return {"searchFilter": "tags.`study.kind` = 'search'", **order, "selectedColumns": columns}


def _children_of(parent: str) -> str:
    return f"tags.mlflow.parentRunId = '{parent}'"


def registry_link(base: str) -> str:
    """The page of all registered sets."""
    return f"{base.rstrip('/')}/#/models?{_WORKFLOW}"


def run_color(index: int) -> str:
    """A colour ``#rrggbb`` for a trial; neighbours differ strongly, and none is too pale for white."""
    hue = (index * _GOLDEN) % 1.0
    lightness = (0.42, 0.56, 0.34)[index % 3]
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, 0.65))
    return f"#{red:02x}{green:02x}{blue:02x}"
