"""Dataset distillation as a tracked search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.sets.files import StoredSet

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(reference: str, *, tracking_uri: str | None = None) -> StoredSet:
    """Load a verified synthetic set by registered name, run id or folder.

    Args:
        reference: ``"digits-dm-ipc1"``, ``"digits-dm-ipc1@best"``, ``"digits-dm-ipc1/3"``, an MLflow
            run id, or the path of a set folder.
        tracking_uri: the MLflow store to ask; by default ``MLFLOW_TRACKING_URI`` or ``./mlruns``.

    Returns:
        A set with ``.images`` [n, C, H, W] float32 (normalised), ``.labels`` [n] int64 and
        ``.as_dataset()`` for a ``torch.utils.data.DataLoader``.

    Raises:
        UnknownSetError: nothing is registered under that reference.
        CorruptSetError: a file is missing or its bytes changed since it was written.
    """
    # Imported here so that `import study` stays free of torch and MLflow.
    from study.runs.catalog.sets import load_set

    return load_set(reference, tracking_uri=tracking_uri)
