"""Dataset distillation as a tracked search.

Functions, results and errors are loaded on first use, so that ``import study`` stays light.

Example:
    >>> import study
    >>> sorted(study.methods())[:3]
    ['datadam', 'datm', 'dc']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study import testing
    from study.api import (
        compare,
        configure,
        datasets,
        distill,
        download,
        evaluate,
        list_runs,
        load,
        methods,
        open_ui,
        plan,
        protocols,
        resume,
        search_config,
        sets,
        show,
        tune,
        verify,
    )
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
    from study.core.records import Score, SyntheticSet
    from study.runs.compare import SetComparison
    from study.runs.context.callbacks import Callback
    from study.runs.evaluate import Evaluation
    from study.runs.plan import Plan
    from study.runs.registration.results import SearchResult, TrialResult, WinnerResult
    from study.sets.files import StoredSet

__version__ = "0.1.0"

__all__ = [
    "Callback", "ConfigError", "CorruptSetError", "DataError", "DivergedError", "Evaluation", "MissingDataError",
    "Plan", "Score", "SearchError", "SearchResult", "SetComparison", "ShapeError", "StoredSet", "StudyError",
    "SyntheticSet", "TrackingError", "TrialResult", "UnknownNameError", "UnknownSetError", "WinnerResult",
    "__version__", "compare", "configure", "datasets", "distill", "download", "evaluate", "list_runs", "load",
    "methods", "open_ui", "plan", "protocols", "resume", "search_config", "sets", "show", "testing", "tune", "verify",
]  # fmt: skip

_PACKAGES = ("methods", "protocols", "sets", "testing")
"""Packages of public use; all but the last can be called too."""
_HOMES = {
    "Callback": "study.runs.context.callbacks",
    "Evaluation": "study.runs.evaluate",
    "Plan": "study.runs.plan",
    "Score": "study.core.records",
    "SearchResult": "study.runs.registration.results",
    "SetComparison": "study.runs.compare",
    "StoredSet": "study.sets.files",
    "SyntheticSet": "study.core.records",
    "TrialResult": "study.runs.registration.results",
    "WinnerResult": "study.runs.registration.results",
}
"""Modules of the result types; errors and functions have one module each."""


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    if name in _PACKAGES:
        return importlib.import_module(f"study.{name}")
    home = _HOMES.get(name, "study.core.errors" if name.endswith("Error") else "study.api")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
