"""One expert's file: its snapshots, mapped into memory, and what proves them whole."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from study.core.errors import DataError

TENSOR = "snapshots"


class BrokenExpertError(DataError):
    """An expert's file is short, altered or not one of ours."""


def write_expert(path: Path, snapshots: Tensor, train_accuracy: float, seconds: float) -> None:
    """Write snapshots [epochs + 1, D] float32 on the CPU with a checksum of each, or raise OSError."""
    metadata = {
        "crc32": " ".join(_checksum(snapshot) for snapshot in snapshots),
        "train_accuracy": repr(train_accuracy),
        "seconds": repr(seconds),
    }
    try:
        save_file({TENSOR: snapshots}, path, metadata)
    except SafetensorError as error:  # how the writer reports a full disk
        raise OSError(str(error)) from error


class ExpertFile:
    """One expert's snapshots, mapped into memory: reading one touches the pages of that one."""

    def __init__(self, path: Path, shape: tuple[int, int] | None = None) -> None:
        """Read the header; ``shape`` is that of the snapshots expected, if known.

        Raises:
            BrokenExpertError: the file is short, not one of ours, or of another shape.
            FileNotFoundError: there is none.
        """
        self.path = path
        try:
            # The handle keeps the file's bytes even if another process evicts the file meanwhile.
            opened: Any = safe_open(path, framework="pt")
            self._slice = opened.get_slice(TENSOR)
            metadata = opened.metadata()
            self.shape: tuple[int, ...] = tuple(self._slice.get_shape())
            self._checksums = metadata["crc32"].split()
            self.train_accuracy = float(metadata["train_accuracy"])
            self.seconds = float(metadata["seconds"])
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise BrokenExpertError(f"expert {path} is damaged: {error}") from error
        whole = len(self.shape) == 2 and len(self._checksums) == self.shape[0]
        if not whole or self._slice.get_dtype() != "F32" or (shape is not None and self.shape != shape):
            raise BrokenExpertError(
                f"expert {path} holds {self._slice.get_dtype()} of shape {self.shape}, expected F32 of {shape}"
            )

    def snapshot(self, epoch: int) -> Tensor:
        """Parameters [D] float32 after that many epochs, in memory of their own.

        Raises BrokenExpertError where the bytes are not those that were written, and takes the file away.
        """
        flat: Tensor = self._slice[epoch].clone()
        if _checksum(flat) != self._checksums[epoch]:
            self.path.unlink(missing_ok=True)
            raise BrokenExpertError(
                f"expert {self.path} was damaged on disk and is removed; the same command trains it again"
            )
        return flat


def _checksum(flat: Tensor) -> str:
    return f"{zlib.crc32(flat.numpy().data):08x}"
