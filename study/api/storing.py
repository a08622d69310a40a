"""Registered synthetic sets: which there are, and verified copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.api.arguments import path_of, stores_of

if TYPE_CHECKING:
    from study.sets.files import StoredSet


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

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=2, budget="smoke")
        >>> len(study.load(made.winner.set).as_dataset())
        20
    """
    from study.runs.catalog.sets import load_set

    return load_set(reference, stores_of(tracking_uri))


def sets(name: str | None = None, *, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """Every registered version of every set (or of one name), newest first.

    Example:
        >>> import study
        >>> isinstance(study.sets("nothing-of-this-name"), list)
        True
    """
    from study.runs.catalog.versions import list_sets

    return list_sets(stores_of(tracking_uri), name)


def show(reference: str, *, tracking_uri: str | None = None) -> dict[str, Any]:
    """Manifest, card and registration of a set, after checking every byte of it.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.show(made.winner.set)["manifest"]["ipc"]
        1
    """
    from study.runs.catalog.sets import show_set

    return show_set(reference, stores_of(tracking_uri))


def download(
    reference: str, output: Path | str | None = None, *, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Copy a set into a new folder, by default of its name, after checking every byte of it.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: it is incomplete or altered; nothing is left behind.
        ConfigError: ``output`` exists and is not empty, or cannot be written.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.download(made.winner.set, "my-digits")["folder"]
        'my-digits'
    """
    from study.runs.catalog.sets import download_set

    return download_set(reference, path_of(output), stores_of(tracking_uri))


def export(
    reference: str, format: str, output: Path | str | None = None, *, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Write a set in a format that other tools read, after checking every byte of it.

    Args:
        reference: registered name, run id or folder.
        format: ``folder`` (as it is stored), ``npz`` (NumPy), ``torch`` (a dictionary of tensors), ``imagefolder``
            (a folder of 8-bit PNGs for each class) or ``parquet`` (Hugging Face ``datasets``).
        output: new folder; by default the set's name with the format.
        tracking_uri: MLflow store.

    Returns:
        ``folder``, bytes of its ``files``, ``sha256`` of the set, ``clipped`` (share of the pixels that pictures clip)
        and what is ``left_out``.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: it is incomplete or altered; nothing is left behind.
        ConfigError: there is no such format, or ``output`` exists and is not empty.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> sorted(study.export(made.winner.set, "npz", "for-numpy")["files"])
        ['README.md', 'data.npz', 'set.json']
    """
    from study.runs.catalog.sets import export_set

    return export_set(reference, format, path_of(output), stores_of(tracking_uri))


def promote(
    reference: str, *, reason: str | None = None, force: bool = False, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Point the alias ``best`` at a version, if it is fit and beats the holder on validation.

    Args:
        reference: ``"name/version"``.
        reason: why, kept with the version beside user and time; by default what the rule says.
        force: overrule the rule, which needs a reason.
        tracking_uri: MLflow store.

    Returns:
        ``set``, the one ``before``, whether it was ``forced``, and the tags that record it.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: the rule is against it, or ``force`` comes without a reason.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> two = study.distill("random", "digits", ipc=1, budget="smoke", seed=1)
        >>> worse = min(made.winner, two.winner, key=lambda winner: winner.is_best)
        >>> study.promote(worse.set, force=True, reason="the class agreed on it")["promoted_reason"]
        'the class agreed on it'
    """
    from study.runs.catalog.changes import promote_set

    return promote_set(reference, reason, force, stores_of(tracking_uri))


def delete(
    reference: str, *, force: bool = False, dry_run: bool = False, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Delete a registered version, and its files where no other version shares them; its run stays.

    Args:
        reference: ``"name/version"``.
        force: delete it even where it is ``best``.
        dry_run: check only whether it may be deleted.
        tracking_uri: MLflow store.

    Raises:
        UnknownSetError: there is no such version.
        ConfigError: it is ``best``, and ``force`` is not given.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.delete(made.winner.set, force=True)["deleted"]
        True
    """
    from study.runs.catalog.changes import delete_set

    return delete_set(reference, force, dry_run, stores_of(tracking_uri))


def verify(references: Sequence[str] = (), *, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """Check every byte of some sets, by default of every registered version; one verdict each.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.verify([made.winner.set])[0]["whole"]
        True
    """
    from study.runs.catalog.sets import verify_sets

    return verify_sets(references, stores_of(tracking_uri))


def repair(*, tracking_uri: str | None = None) -> dict[str, Any]:
    """Record where a moved store lies now, after a copy of its database, and check every registered set by hash.

    Args:
        tracking_uri: folder or database of the store as it lies now; by default ``./mlruns``.

    Returns:
        ``moved_from`` and ``backup`` (None where nothing was moved), ``changed`` rows by table, one verdict for
        each of ``sets``, and whether all are ``whole``.

    Raises:
        ConfigError: there is no embedded store.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.repair()["moved_from"] is None
        True
    """
    from study.runs.catalog.repair import repair as run

    return run(stores_of(tracking_uri))
