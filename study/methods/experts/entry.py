"""The experts of one key: a folder with a file for each, held against eviction while somebody uses it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from study.core.errors import DataError
from study.core.files import replace_file
from study.core.locks import share
from study.methods.experts.file import BrokenExpertError, ExpertFile, Kept, write_expert

_LOG = logging.getLogger(__name__)
META = "meta.json"
LOCKS = ".locks"


class ExpertEntry:
    """The experts of one key; from its construction until it is garbage, no other process evicts it."""

    def __init__(self, root: Path, key: str) -> None:
        """Make the folder if need be, and hold it; DataError where that cannot be written."""
        self.key, self.folder = key, root / key
        try:
            weakref.finalize(self, share(holders(root, key)))
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def path(self, expert: int) -> Path:
        """File of an expert, there or not."""
        return expert_path(self.folder, expert)

    def read(self, expert: int, wanted: Kept, *, warn: bool = True) -> ExpertFile | None:
        """An expert that is there and whole, though it may keep less than what is wanted.

        A damaged file stays for :meth:`write` to replace.
        """
        try:
            return ExpertFile(self.path(expert), wanted)
        except FileNotFoundError:
            return None
        except BrokenExpertError as error:
            if warn:
                _LOG.warning("%s; it will be trained again", error)
            return None

    def building(self, expert: int) -> FileLock:
        """Lock of whoever trains this expert; each call gives a lock of its own."""
        return FileLock(self.path(expert).with_suffix(".lock"))

    def write(
        self,
        expert: int,
        snapshots: Tensor,
        train_accuracy: float,
        seconds: float,
        num_epochs: int | None = None,
    ) -> None:
        """Store a finished expert under :meth:`building`, as :func:`write_expert` does.

        Raises DataError where the disk does not take it.
        """
        path = self.path(expert)
        try:
            for leftover in self.folder.glob(f".{path.name}.*"):  # of a build that was killed
                leftover.unlink(missing_ok=True)
            with replace_file(path) as temporary:
                write_expert(temporary, snapshots, train_accuracy, seconds, num_epochs)
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
                        "kept_epochs": one.kept.last,
                        "train_accuracy": one.train_accuracy,
                        "seconds": one.seconds,
                    }
            temporary.write_text(json.dumps({**meta, "experts": found}, indent=2) + "\n")

    def touch(self) -> None:
        """Mark the entry as used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / META)


def expert_path(folder: Path, expert: int) -> Path:
    """Where an entry keeps an expert."""
    return folder / f"expert-{expert:05d}.safetensors"


def holders(root: Path, key: str) -> Path:
    """Locks of an entry's users: beside it, since a lock that goes away with it protects nothing."""
    return root / LOCKS / f"{key}.holders"


def _unwritable(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot write the cache {path}: {error}; set STUDY_CACHE to another folder")
