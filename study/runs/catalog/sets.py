"""What can be asked about stored synthetic sets: which there are, what one is, a verified copy of it."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from study.core.errors import ConfigError, CorruptSetError, StudyError
from study.core.files import replace_folder
from study.runs.catalog.versions import list_sets, plain_version
from study.runs.context.stores import StoreOptions
from study.sets.exports import write_export
from study.sets.files import (
    CARD_NAME,
    DATA_NAME,
    MANIFEST_NAME,
    SET_FOLDER,
    StoredSet,
    read_set,
    stored_files,
    unwritable,
    verify_set,
)  # fmt: skip
from study.tracking.base import RegisteredSet, Tracker
from study.tracking.open import open_tracker

_RUN_ID = re.compile(r"[0-9a-f]{32}")


def show_set(reference: str, stores: StoreOptions) -> dict[str, Any]:
    """Manifest, card and registration of a set, after checking every byte of it.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: it was altered.
    """
    with _fetched(reference, stores) as (folder, registered):
        manifest = verify_set(folder)
        card = folder / CARD_NAME
        return {
            "reference": reference,
            "registered": None if registered is None else plain_version(registered),
            "sha256": manifest.files[DATA_NAME].sha256,
            "manifest": manifest.plain(),
            "card": card.read_text(encoding="utf-8") if CARD_NAME in manifest.files else "",
        }


def download_set(reference: str, output: Path | None, stores: StoreOptions) -> dict[str, Any]:
    """Copy a set into a new folder, by default of its name, verified; the folder appears whole or not at all.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: what the store gave is incomplete or altered; nothing is left behind.
        ConfigError: ``output`` exists and is not empty, or cannot be written.
    """
    with _fetched(reference, stores) as (folder, registered):
        manifest = verify_set(folder)
        target = output or _folder_named(registered.name if registered else manifest.name)
        _copy(folder, target)
        return {
            "folder": str(target),
            "set": reference if registered is None else f"{registered.name}/{registered.version}",
            "sha256": manifest.files[DATA_NAME].sha256,
            "files": {name: record.size for name, record in manifest.files.items()},
        }


def export_set(reference: str, format: str, output: Path | None, stores: StoreOptions) -> dict[str, Any]:
    """Write a verified set in another format, by default into a folder of its name and the format.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: what the store gave is incomplete or altered; nothing is left behind.
        ConfigError: the format is unknown or does not fit, or ``output`` cannot be written.
    """
    if format == "folder":
        done = download_set(reference, output, stores)
        return {**done, "format": format, "clipped": None, "left_out": []}
    with _fetched(reference, stores) as (folder, registered):
        stored = read_set(folder)
        target = output or _folder_named(
            f"{registered.name if registered else stored.manifest.name}-{format}"
        )
        return {
            **write_export(stored, format, target),
            "set": reference if registered is None else f"{registered.name}/{registered.version}",
            "sha256": stored.manifest.files[DATA_NAME].sha256,
            "format": format,
        }


def verify_sets(references: Sequence[str], stores: StoreOptions) -> list[dict[str, Any]]:
    """Check every byte of some sets, or of every registered version.

    Returns:
        For each set its reference, whether it is whole, its SHA-256, and otherwise the fault.
    """
    all_sets = [] if references else list_sets(stores)
    references = references or [f"{entry['name']}/{entry['version']}" for entry in all_sets]
    return [_verdict(reference, stores) for reference in references]


def load_set(reference: str, stores: StoreOptions) -> StoredSet:
    """Load a verified set by ``name``, ``name@alias``, ``name/version``, run id or folder.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: it is incomplete or altered.
    """
    with _fetched(reference, stores) as (folder, _):
        return read_set(folder)


def _verdict(reference: str, stores: StoreOptions) -> dict[str, Any]:
    try:
        stored = load_set(reference, stores)
    except StudyError as error:
        return {"set": reference, "whole": False, "sha256": None, "fault": str(error)}
    sha256 = stored.manifest.files[DATA_NAME].sha256
    return {"set": reference, "whole": True, "sha256": sha256, "fault": None}


@contextlib.contextmanager
def _fetched(reference: str, stores: StoreOptions) -> Iterator[tuple[Path, RegisteredSet | None]]:
    """The files of a set in a folder that lasts as long as the block, unverified, and its registration."""
    folder = Path(reference).expanduser()
    if _is_path(reference, folder):
        yield folder, None
        return
    tracker = open_tracker(stores.tracking_uri, stores.root, create=False)
    with tempfile.TemporaryDirectory(prefix="study-set-") as name:
        temporary = Path(name)
        try:
            if _RUN_ID.fullmatch(reference):
                yield tracker.download(reference, SET_FOLDER, temporary), None
            else:
                yield _from_registry(tracker, reference, temporary / "set")
        except CorruptSetError as error:
            # The user never saw the temporary folder; the reference says which set it is.
            inside = str(error).replace(f"{temporary}/set/", "").replace(f"{temporary}/{SET_FOLDER}/", "")
            raise CorruptSetError(f"{reference}: {inside.replace(str(temporary), 'its folder')}") from error


def _from_registry(tracker: Tracker, reference: str, destination: Path) -> tuple[Path, RegisteredSet]:
    registered = tracker.resolve_set(reference)
    folder = tracker.download_set(registered, destination)
    stated = registered.tags.get("sha256")
    found = verify_set(folder).files[DATA_NAME].sha256
    if stated is not None and stated != found:
        raise CorruptSetError(
            f"{DATA_NAME} and {MANIFEST_NAME} were both replaced: the registry has SHA-256 {stated}, they have {found}"
        )
    return folder, registered


def _is_path(reference: str, folder: Path) -> bool:
    """Whether a reference means a folder: it is one, or is written like one."""
    written_so = reference.startswith((".", "/", "~")) or reference.endswith("/") or reference.count("/") > 1
    return written_so or (folder / MANIFEST_NAME).is_file()


def _folder_named(name: str) -> Path:
    """A folder of that name here; whoever wrote a set must not choose where else its copy goes."""
    if Path(name).name != name or "\\" in name or name.startswith("."):
        raise ConfigError(
            f"the set calls itself {name!r}, which is no plain folder name; give --output FOLDER"
        )
    return Path(name)


def _copy(folder: Path, target: Path) -> None:
    try:
        with replace_folder(target) as partial:
            for path in stored_files(folder):
                shutil.copyfile(path, partial / path.name)
    except OSError as error:
        raise unwritable(target, error) from error
