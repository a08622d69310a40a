"""Where expert trajectories are kept: one folder a key, one file an expert, evicted by size.

A killed build leaves nothing that is taken for an expert: files appear by rename and are checked when read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from study.core.errors import ConfigError, DataError
from study.core.files import cache_folder, replace_file
from study.core.locks import alone, is_shared, share
from study.methods.experts.file import BrokenExpertError, ExpertFile, write_expert

_LOG = logging.getLogger(__name__)
DEFAULT_LIMIT_GB = 20.0
META = "meta.json"
LOCKS = ".locks"
REMOVED = ".removed-"


def size_limit() -> int:
    """Bytes all experts together may take: ``STUDY_CACHE_GB``, or 20 GB.

    Raises ConfigError where the variable is no number of at least 0.
    """
    text = os.environ.get("STUDY_CACHE_GB") or str(DEFAULT_LIMIT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise ConfigError(f"STUDY_CACHE_GB = {text!r}: expected a number of gigabytes, at least 0")
    return int(gigabytes * 1e9)


@dataclass(frozen=True)
class EntryInfo:
    """What a folder of experts takes and when it served last.

    Attributes:
        meta: what :meth:`ExpertEntry.describe` wrote; empty where that is missing.
        num_experts: complete files.
        size: bytes of everything in the folder.
        last_used: seconds since the epoch.
        in_use: a process is building or reading these experts.
    """

    key: str
    meta: Mapping[str, Any]
    num_experts: int
    size: int
    last_used: float
    in_use: bool


class ExpertEntry:
    """The experts of one key; from its construction until it is garbage, no other process evicts it."""

    def __init__(self, root: Path, key: str) -> None:
        """Make the folder if need be, and hold it; DataError where that cannot be written."""
        self.key, self.folder = key, root / key
        try:
            weakref.finalize(self, share(_holders(root, key)))
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def path(self, expert: int) -> Path:
        """File of an expert, there or not."""
        return self.folder / f"expert-{expert:05d}.safetensors"

    def read(self, expert: int, shape: tuple[int, int], *, warn: bool = True) -> ExpertFile | None:
        """An expert of that shape that is there and whole; a damaged file stays for :meth:`write` to replace."""
        path = self.path(expert)
        if not path.exists():
            return None
        try:
            return ExpertFile(path, shape)
        except BrokenExpertError as error:
            if warn:
                _LOG.warning("%s; it will be trained again", error)
            return None

    def building(self, expert: int) -> FileLock:
        """Lock of whoever trains this expert; each call gives a lock of its own."""
        return FileLock(self.path(expert).with_suffix(".lock"))

    def write(self, expert: int, snapshots: Tensor, train_accuracy: float, seconds: float) -> None:
        """Store a finished expert under :meth:`building`; DataError where the disk does not take it."""
        path = self.path(expert)
        try:
            for leftover in self.folder.glob(f".{path.name}.*"):  # of a build that was killed
                leftover.unlink(missing_ok=True)
            with replace_file(path) as temporary:
                write_expert(temporary, snapshots, train_accuracy, seconds)
        except OSError as error:
            raise _unwritable(path, error) from error

    def describe(self, meta: Mapping[str, Any]) -> None:
        """Write ``meta.json`` for human readers, with what is there now."""
        with FileLock(self.folder / "meta.lock"), replace_file(self.folder / META) as temporary:
            found = {}
            for path in sorted(self.folder.glob("expert-*.safetensors")):
                with contextlib.suppress(BrokenExpertError, FileNotFoundError):
                    one = ExpertFile(path)
                    found[path.name] = {
                        "bytes": path.stat().st_size,
                        "train_accuracy": one.train_accuracy,
                        "seconds": one.seconds,
                    }
            temporary.write_text(json.dumps({**meta, "experts": found}, indent=2) + "\n")

    def touch(self) -> None:
        """Mark the entry as used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / META)


class ExpertStore:
    """All expert trajectories of this user's cache."""

    def __init__(self) -> None:
        """Point at the folder; nothing is written."""
        self.root = cache_folder() / "experts"

    def entry(self, key: str) -> ExpertEntry:
        """The experts of one key, held against eviction."""
        return ExpertEntry(self.root, key)

    def num_stored(self, key: str, num_experts: int) -> int:
        """How many of the first ``num_experts`` are there; reads no file and makes no folder."""
        folder = self.root / key
        paths = (folder / f"expert-{expert:05d}.safetensors" for expert in range(num_experts))
        return sum(path.exists() for path in paths)

    def entries(self) -> list[EntryInfo]:
        """Every entry, last used first."""
        if not self.root.is_dir():
            return []
        folders = [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        found = []
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):  # taken away by another process this moment
                found.append(self._info(folder))
        return sorted(found, key=lambda info: (-info.last_used, info.key))

    def prune(
        self, *, max_bytes: int | None = None, unused_seconds: float | None = None, everything: bool = False
    ) -> list[EntryInfo]:
        """Remove entries until the rest fits, those unused for so long, or all; those longest unused first.

        Entries in use stay. Gives what was removed; DataError where a folder cannot be removed.
        """
        entries = self.entries()
        total, removed = sum(info.size for info in entries), []
        oldest_kept = None if unused_seconds is None else time.time() - unused_seconds
        for info in reversed(entries):
            too_much = max_bytes is not None and total > max_bytes
            too_old = oldest_kept is not None and info.last_used < oldest_kept
            if (everything or too_much or too_old) and self._remove(info.key):
                total -= info.size
                removed.append(info)
        for grave in self.root.glob(f"{REMOVED}*"):  # of removals that were killed
            shutil.rmtree(grave, ignore_errors=True)
        return removed

    def _remove(self, key: str) -> bool:
        """Take an entry away unless somebody holds it; readers elsewhere never see half of it."""
        try:
            with alone(_holders(self.root, key)) as free:
                if not free:
                    return False
                grave = Path(tempfile.mkdtemp(dir=self.root, prefix=REMOVED))
                (self.root / key).replace(grave / key)
                shutil.rmtree(grave)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DataError(f"cannot remove {self.root / key}: {error}") from error
        return True

    def _info(self, folder: Path) -> EntryInfo:
        files = [path for path in folder.iterdir() if path.is_file()]
        meta: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            meta = json.loads((folder / META).read_text())
        used = folder / META if (folder / META).exists() else folder
        return EntryInfo(
            key=folder.name,
            meta=meta,
            num_experts=sum(path.suffix == ".safetensors" and path.name[0] != "." for path in files),
            size=sum(_size(path) for path in files),
            last_used=used.stat().st_mtime,
            in_use=is_shared(_holders(self.root, folder.name)),
        )


def _holders(root: Path, key: str) -> Path:
    """Locks of an entry's users: beside it, since a lock that goes away with it protects nothing."""
    return root / LOCKS / f"{key}.holders"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _unwritable(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot write the cache {path}: {error}; set STUDY_CACHE to another folder")
