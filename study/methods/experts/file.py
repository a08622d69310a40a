"""One expert's file: its snapshots, mapped into memory, and what proves them whole."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from study.core.errors import DataError

TENSOR = "snapshots"


@dataclass(frozen=True)
class Kept:
    """Which snapshots of an expert are kept: those of epochs 0 to ``last``, and that of its final epoch.

    Always from 0 on, so that of two wishes one includes the other, and a file that serves the larger serves both.
    """

    num_parameters: int
    num_epochs: int
    last: int

    @property
    def num_rows(self) -> int:
        """Snapshots in all."""
        return min(self.last + 2, self.num_epochs + 1)

    @property
    def num_bytes(self) -> int:
        """What they take as float32."""
        return 4 * self.num_rows * self.num_parameters

    def row(self, epoch: int) -> int | None:
        """Where the snapshot after that many epochs stands; None where it is not kept."""
        if epoch == self.num_epochs:
            return self.num_rows - 1
        return epoch if 0 <= epoch <= self.last else None

    def serves(self, wanted: Kept) -> bool:
        """Whether everything wanted of an expert of the same length is there."""
        return self.num_rows >= wanted.num_rows

    def __str__(self) -> str:
        final = f" and {self.num_epochs}" if self.num_rows <= self.num_epochs else ""
        return f"epochs 0 to {self.num_rows - 2 if final else self.num_epochs}{final}"


class BrokenExpertError(DataError):
    """An expert's file is short, altered or not one of ours."""


def write_expert(
    path: Path, snapshots: Tensor, train_accuracy: float, seconds: float, num_epochs: int | None = None
) -> None:
    """Write snapshots [rows, D] float32 on the CPU with a checksum of each, or raise OSError.

    The last one is that after ``num_epochs``, the others those of epochs 0, 1, ...; by default they are all there.
    """
    metadata = {
        "num_epochs": str(len(snapshots) - 1 if num_epochs is None else num_epochs),
        "crc32": " ".join(_checksum(snapshot) for snapshot in snapshots),
        "train_accuracy": repr(train_accuracy),
        "seconds": repr(seconds),
    }
    try:
        save_file({TENSOR: snapshots}, path, metadata)
    except SafetensorError as error:  # how the writer reports a full disk
        raise OSError(str(error)) from error


class ExpertFile:
    """One expert's snapshots, mapped into memory: reading one touches the pages of that one.

    Attributes:
        kept: which they are.
    """

    def __init__(self, path: Path, wanted: Kept | None = None) -> None:
        """Read the header; ``wanted`` is what the snapshots are expected to be, though fewer may be kept.

        Raises:
            BrokenExpertError: the file is short, not one of ours, of another size or of other epochs.
            FileNotFoundError: there is none.
        """
        self.path = path
        try:
            # The handle keeps the file's bytes even if another process evicts the file meanwhile.
            opened: Any = safe_open(path, framework="pt")
            self._slice = opened.get_slice(TENSOR)
            metadata = opened.metadata()
            shape: tuple[int, ...] = tuple(self._slice.get_shape())
            self._checksums = metadata["crc32"].split()
            num_epochs = int(metadata.get("num_epochs", shape[0] - 1))  # files of old kept every epoch
            self.train_accuracy = float(metadata["train_accuracy"])
            self.seconds = float(metadata["seconds"])
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise BrokenExpertError(f"expert {path} is damaged: {error}") from error
        whole = len(shape) == 2 and 2 <= len(self._checksums) == shape[0] <= num_epochs + 1
        size = None if wanted is None else (wanted.num_parameters, wanted.num_epochs)
        if not whole or self._slice.get_dtype() != "F32" or size not in (None, (shape[1], num_epochs)):
            raise BrokenExpertError(
                f"expert {path} holds {self._slice.get_dtype()} of shape {shape} after {num_epochs} epochs, "
                f"expected F32, parameters and epochs {size}"
            )
        last = num_epochs if shape[0] == num_epochs + 1 else shape[0] - 2
        self.kept = Kept(shape[1], num_epochs, last)

    def snapshot(self, epoch: int) -> Tensor:
        """Parameters [D] float32 after that many epochs, one of those kept, in memory of their own.

        Raises BrokenExpertError where the bytes are not those that were written, and takes the file away.
        """
        row = self.kept.row(epoch)
        assert row is not None
        flat: Tensor = self._slice[row].clone()
        if _checksum(flat) != self._checksums[row]:
            self.path.unlink(missing_ok=True)
            raise BrokenExpertError(
                f"expert {self.path} was damaged on disk and is removed; the same command trains it again"
            )
        return flat


def _checksum(flat: Tensor) -> str:
    return f"{zlib.crc32(flat.numpy().data):08x}"
