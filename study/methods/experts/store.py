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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.core.errors import ConfigError, DataError, StudyError
from study.core.files import cache_folder
from study.core.locks import alone, is_shared
from study.methods.experts.entry import META, ExpertEntry, expert_path, holders
from study.methods.experts.file import BrokenExpertError, ExpertFile, Kept

_LOG = logging.getLogger(__name__)
DEFAULT_LIMIT_GB = 20.0
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


_HELD: list[dict[Path, ExpertEntry]] = []
"""What each open :func:`holding` keeps."""


@contextlib.contextmanager
def holding() -> Iterator[None]:
    """Keep every entry this process opens from eviction until the block ends, whatever the limit; then make room.

    Trials of a search ask for one set of experts after the other and come back to them. A process that is killed
    lets go by itself.
    """
    held: dict[Path, ExpertEntry] = {}
    _HELD.append(held)
    try:
        yield
    finally:
        _HELD[:] = [one for one in _HELD if one is not held]
        if held:
            held.clear()
            try:
                ExpertStore().prune(max_bytes=size_limit())
            except StudyError as error:  # what was done meanwhile counts more
                _LOG.warning("%s", error)


class ExpertStore:
    """All expert trajectories of this user's cache."""

    def __init__(self) -> None:
        """Point at the folder; nothing is written."""
        self.root = cache_folder() / "experts"

    def entry(self, key: str) -> ExpertEntry:
        """The experts of one key, held against eviction: while the entry lives, and in :func:`holding`."""
        entry = ExpertEntry(self.root, key)
        for held in _HELD:
            held.setdefault(entry.folder, entry)
        return entry

    def stored(self, key: str, num_experts: int, wanted: Kept) -> list[ExpertFile | None]:
        """What is there of the first experts, as :meth:`ExpertEntry.read` finds it; makes no folder."""
        found: list[ExpertFile | None] = []
        for expert in range(num_experts):
            try:
                found.append(ExpertFile(expert_path(self.root / key, expert), wanted))
            except (FileNotFoundError, BrokenExpertError):
                found.append(None)
        return found

    def capacity(self) -> int:
        """Bytes that experts could take on this disk: what is free, and what they take already."""
        return self.free() + sum(info.size for info in self.entries())

    def free(self) -> int:
        """Bytes that are free on the disk of the cache."""
        place = self.root
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def make_room(self, num_bytes: int) -> None:
        """Evict entries until that much more fits the limit and the disk, or nothing is left to evict.

        What a search in this process holds goes only where the disk is too small otherwise.
        """
        self.prune(max_bytes=max(0, min(size_limit(), self.capacity()) - num_bytes))
        if _HELD and num_bytes > self.free():
            _LOG.warning(
                "the disk of %s is too small for all experts of this search; those of earlier trials are removed",
                self.root,
            )
            for held in _HELD:
                held.clear()
            self.prune(max_bytes=max(0, self.capacity() - num_bytes))

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
            with alone(holders(self.root, key)) as free:
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
            in_use=is_shared(holders(self.root, folder.name)),
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
