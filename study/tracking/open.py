"""The one way to a tracker: from what the user gave to an open store."""

from __future__ import annotations

from pathlib import Path

from study.core.errors import TrackingError
from study.tracking.base import Tracker
from study.tracking.mlflow_backend import MlflowTracker
from study.tracking.stores import locate

DEFAULT_ROOT = Path("mlruns")


def open_tracker(uri: str | None = None, root: Path = DEFAULT_ROOT, *, create: bool = True) -> Tracker:
    """Open the tracking store that :func:`study.tracking.stores.locate` finds.

    An embedded store that is not there is created; commands that only read refuse instead (``create=False``).

    Raises:
        TrackingError: it does not answer, cannot be written, holds something else, or is not there.
    """
    location = locate(uri, root)
    if not create and location.database is not None and not location.database.exists():
        raise TrackingError(
            f"there is no tracking store at {location.database} yet: `study tune` makes one, "
            "or give --tracking-uri"
        )
    return MlflowTracker(location)
