"""What the rest of the package may ask of a tracking store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class RegisteredSet:
    """One version of a registered synthetic set."""

    name: str
    """In the registry, such as ``digits-dm-ipc1``."""
    version: str
    """Number within the name, as text."""
    aliases: tuple[str, ...]
    """Names that point at this version, such as ``best``."""
    tags: Mapping[str, str]
    run_id: str
    """Of the run it came from."""
    created: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class RunInfo:
    """A finished or running run as the store knows it: latest metrics, all parameters and tags."""

    run_id: str
    name: str
    status: str
    experiment: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started: float | None = None
    """Seconds since the epoch, where the store knows."""


class Recorder(Protocol):
    """Writes into one run; numbers are buffered and sent in batches."""

    run_id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record plain values; long ones are shortened to what the store takes."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers at an iteration."""

    def log_image(self, image: Image, key: str, step: int) -> None:
        """Record a picture under a key, so that the UI shows it with a step slider."""

    def log_figure(self, figure: Figure | Image, name: str, dpi: int = 120) -> None:
        """Store a drawing or a picture as an artifact file of that name; ``dpi`` holds for drawings."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Store a file in an artifact folder, or all that a folder holds, by default under the name it has."""

    def log_text(self, text: str, name: str) -> None:
        """Store text as an artifact file of that name."""

    def log_table(self, rows: list[dict[str, object]], name: str) -> None:
        """Store rows as a table that the UI renders; ``name`` ends in ``.json``."""

    def log_dataset(self, name: str, digest: str, context: str, profile: Mapping[str, object]) -> None:
        """Record a real dataset as an input of the run."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""

    def finish(self, status: RunStatus = "FINISHED") -> None:
        """Send what is buffered and end the run; a second call does nothing."""


class Tracker(Protocol):
    """A tracking store with its registry."""

    uri: str

    def start_run(self, experiment: str, name: str, *, parent: str | None = None,
                  tags: Mapping[str, str] | None = None) -> Recorder:  # fmt: skip
        """Open a run, as a child of ``parent`` if given."""

    def resume_run(self, run_id: str) -> Recorder:
        """Open an existing run again and mark it running."""

    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a run that may have ended; its status and times stay."""

    def find_runs(
        self, experiment: str | None = None, tags: Mapping[str, str] | None = None
    ) -> list[RunInfo]:
        """Runs of an experiment (or of all) that carry all these tags, newest first."""

    def get_run(self, run_id: str) -> RunInfo:
        """One run by id; raises ``UnknownSetError`` where there is none."""

    def end_stale_runs(self, tags: Mapping[str, str], keep: frozenset[str] = frozenset()) -> list[str]:
        """End as KILLED every RUNNING run with these tags, except those kept; gives their ids."""

    def download(self, run_id: str, path: str, destination: Path) -> Path:
        """Copy an artifact file or folder of a run into a folder; gives the local path."""

    def register_set(self, folder: Path, name: str, *, run_id: str, tags: Mapping[str, str],
                     card: str, alias: str | None = None,
                     scores: Mapping[str, float] | None = None) -> RegisteredSet:  # fmt: skip
        """Store a set folder as a new version of ``name``, independent of the run's life."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias of a registered name at a version."""

    def tag_set(self, registered: RegisteredSet, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a version."""

    def delete_set(self, registered: RegisteredSet) -> bool:
        """Delete a version with its aliases, and its files where no other version has the same; says if it did."""

    def list_sets(self, name: str | None = None) -> list[RegisteredSet]:
        """Every version of every registered set (or of one name), newest first."""

    def resolve_set(self, reference: str) -> RegisteredSet:
        """The version behind ``name``, ``name@alias`` or ``name/version``; bare names mean ``@best``, else newest."""

    def download_set(self, registered: RegisteredSet, destination: Path) -> Path:
        """Copy the files of a version into ``destination`` (created); the caller verifies them."""

    def links(self, experiment: str, parent: str | None = None) -> dict[str, str]:
        """Addresses in the UI by name; they work once ``study ui`` runs."""
