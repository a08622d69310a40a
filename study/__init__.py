"""Dataset distillation as a tracked search.

Result types are loaded on first use, and functions load what they need when they are called, so that
``import study`` stays light.

Example:
    >>> import study
    >>> sorted(study.methods())[:3]
    ['dance', 'datadam', 'datm']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from study.api.judging import compare, evaluate, list_runs, report, reproduce
from study.api.listing import (
    build_experts,
    check_dataset,
    datasets,
    experts,
    methods,
    open_ui,
    plan_experts,
    prepare_dataset,
    protocols,
    prune_experts,
    recipes,
)
from study.api.searching import configure, distill, plan, recipe, resume, search_config, tune
from study.api.storing import delete, download, export, load, promote, repair, sets, show, verify
from study.core.errors import (
    ConfigError,
    CorruptSetError,
    DataError,
    DivergedError,
    MissingDataError,
    SearchError,
    ShapeError,
    StudyError,
    TrackingError,
    UnknownNameError,
    UnknownSetError,
)

if TYPE_CHECKING:
    from study import testing
    from study.core.records import Score, SyntheticSet
    from study.runs.catalog.recipes import Composition, Setting
    from study.runs.compare import SetComparison
    from study.runs.context.callbacks import Callback
    from study.runs.evaluate import Evaluation
    from study.runs.plan import Plan
    from study.runs.registration.results import SearchResult, TrialResult, WinnerResult
    from study.runs.report.page import Report
    from study.sets.files import StoredSet

__version__ = "0.1.0"

__all__ = [
    "Callback", "Composition", "ConfigError", "CorruptSetError", "DataError", "DivergedError", "Evaluation",
    "MissingDataError", "Plan", "Report", "Score", "SearchError", "SearchResult", "SetComparison", "Setting",
    "ShapeError", "StoredSet", "StudyError", "SyntheticSet", "TrackingError", "TrialResult", "UnknownNameError",
    "UnknownSetError", "WinnerResult", "__version__", "build_experts", "check_dataset", "compare", "configure",
    "datasets", "delete", "distill", "download", "evaluate", "experts", "export", "list_runs", "load", "methods",
    "open_ui", "plan", "plan_experts", "prepare_dataset", "promote", "protocols", "prune_experts", "recipe", "recipes",
    "repair", "report", "reproduce", "resume", "search_config", "sets", "show", "testing", "tune", "verify",
]  # fmt: skip

_HOMES = {
    "Callback": "study.runs.context.callbacks",
    "Composition": "study.runs.catalog.recipes",
    "Evaluation": "study.runs.evaluate",
    "Plan": "study.runs.plan",
    "Report": "study.runs.report.page",
    "Score": "study.core.records",
    "SearchResult": "study.runs.registration.results",
    "SetComparison": "study.runs.compare",
    "Setting": "study.runs.catalog.recipes",
    "StoredSet": "study.sets.files",
    "SyntheticSet": "study.core.records",
    "TrialResult": "study.runs.registration.results",
    "WinnerResult": "study.runs.registration.results",
}
"""Modules of the types that are loaded on first use, since they need torch."""


def __getattr__(name: str) -> Any:
    """Load a result type, or the package of contract suites, on first use."""
    if name == "testing":
        return importlib.import_module("study.testing")
    if name not in _HOMES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
