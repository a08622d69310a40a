"""A tracker that keeps everything in memory: the contract without MLflow, for fast tests."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from PIL.Image import Image

from study.core.errors import TrackingError, UnknownSetError
from study.tracking.base import RegisteredSet, RunInfo, RunStatus, Tracker
from study.tracking.links import DEFAULT_BASE, deep_links
from study.tracking.recorder import MAX_PARAM_LENGTH, MAX_TAG_LENGTH, shorten, table_text
from study.tracking.references import check_alias, check_set_name, parse_reference, pick
from study.tracking.stores import StoreLocation


@dataclass
class MemoryRun:
    """Everything one run holds.

    Attributes:
        curves: for each metric its (step, value) pairs in the order they came.
        files: bytes by artifact path.
        images: (step, width, height) of each logged image by key.
        datasets: what was recorded as input.
    """

    run_id: str
    name: str
    experiment: str
    tags: dict[str, str]
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    images: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    datasets: list[dict[str, object]] = field(default_factory=list)

    def info(self) -> RunInfo:
        metrics = {
            key: max(enumerate(points), key=lambda item: (item[1][0], item[0]))[1][1]
            for key, points in self.curves.items()
        }
        return RunInfo(
            self.run_id, self.name, self.status, self.experiment, dict(self.params), metrics, dict(self.tags)
        )


class MemoryRecorder:
    """A :class:`study.tracking.base.Recorder` into a :class:`MemoryRun`."""

    def __init__(self, run: MemoryRun) -> None:
        self.run_id = run.run_id
        self._run = run
        self._open = True

    def log_params(self, params: Mapping[str, object]) -> None:
        for key, value in params.items():
            text = shorten(value, MAX_PARAM_LENGTH)
            if self._run.params.setdefault(key, text) != text:
                raise TrackingError(
                    f"parameter {key} of run {self.run_id} is already {self._run.params[key]!r}"
                )

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        for key, value in metrics.items():
            self._run.curves.setdefault(key, []).append((step, float(value)))

    def log_image(self, image: Image, key: str, step: int) -> None:
        self._run.images.setdefault(key, []).append((step, *image.size))
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        self._run.files[f"images/{key}+step+{step}.png"] = buffer.getvalue()

    def log_file(self, path: Path, folder: str = "") -> None:
        if not path.is_dir():
            self._run.files[str(PurePosixPath(folder) / path.name)] = path.read_bytes()
            return
        base = PurePosixPath(folder or path.name)
        for inner in sorted(path.rglob("*")):
            if inner.is_file():
                self._run.files[str(base / inner.relative_to(path).as_posix())] = inner.read_bytes()

    def log_figure(self, figure: Any, name: str, dpi: int = 120) -> None:
        buffer = io.BytesIO()
        if isinstance(figure, Image):
            figure.save(buffer, format="PNG")
        else:
            figure.savefig(buffer, format="png", dpi=dpi)
        self._run.files[name] = buffer.getvalue()

    def log_text(self, text: str, name: str) -> None:
        self._run.files[name] = text.encode()

    def log_table(self, rows: list[dict[str, object]], name: str) -> None:
        self._run.files[name] = table_text(rows).encode()

    def log_dataset(self, name: str, digest: str, context: str, profile: Mapping[str, object]) -> None:
        self._run.datasets.append({"name": name, "digest": digest, "context": context, **profile})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._run.tags.update({key: shorten(value, MAX_TAG_LENGTH) for key, value in tags.items()})

    def finish(self, status: RunStatus = "FINISHED") -> None:
        if self._open:
            self._run.status = status
        self._open = False


class MemoryTracker:
    """A :class:`study.tracking.base.Tracker` without a store.

    Attributes:
        runs: every run by id, in the order they were opened.
    """

    def __init__(self, uri: str = "memory://") -> None:
        self.uri = uri
        self.runs: dict[str, MemoryRun] = {}
        self._sets: dict[tuple[str, str], tuple[RegisteredSet, dict[str, bytes]]] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def start_run(
        self, experiment: str, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> MemoryRecorder:
        every = dict(tags or {})
        if parent is not None:
            every["mlflow.parentRunId"] = parent
        run = MemoryRun(uuid.uuid4().hex, name, experiment, every)
        self.runs[run.run_id] = run
        return MemoryRecorder(run)

    def resume_run(self, run_id: str) -> MemoryRecorder:
        run = self._run(run_id)
        run.status = "RUNNING"
        return MemoryRecorder(run)

    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        MemoryRecorder(self._run(run_id)).set_tags(tags)

    def find_runs(
        self, experiment: str | None = None, tags: Mapping[str, str] | None = None
    ) -> list[RunInfo]:
        wanted = dict(tags or {}).items()
        return [
            run.info()
            for run in reversed(self.runs.values())
            if experiment in (None, run.experiment) and wanted <= run.tags.items()
        ]

    def get_run(self, run_id: str) -> RunInfo:
        return self._run(run_id).info()

    def end_stale_runs(self, tags: Mapping[str, str], keep: frozenset[str] = frozenset()) -> list[str]:
        running = [run.run_id for run in self.find_runs(tags=tags) if run.status == "RUNNING"]
        stale = [run_id for run_id in running if run_id not in keep]
        for run_id in stale:
            self.runs[run_id].status = "KILLED"
        return stale

    def download(self, run_id: str, path: str, destination: Path) -> Path:
        files = self._run(run_id).files
        found = {name: data for name, data in files.items() if name == path or name.startswith(f"{path}/")}
        if not found:
            raise UnknownSetError(f"run {run_id} has no artifact {path!r}")
        _write(found, destination)
        return destination / path

    def register_set(
        self,
        folder: Path,
        name: str,
        *,
        run_id: str,
        tags: Mapping[str, str],
        card: str,
        alias: str | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> RegisteredSet:
        del card, scores  # the card lies in the folder as README.md, scores are for pages
        check_set_name(name)
        if alias is not None:
            check_alias(alias)
        self._run(run_id)
        version = str(1 + max((int(number) for known, number in self._sets if known == name), default=0))
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        entry = RegisteredSet(name, version, (), dict(tags), run_id, time.time())
        self._sets[name, version] = (entry, files)
        if alias is not None:
            self.set_alias(name, alias, version)
        return self._entry(entry)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        check_alias(alias)
        if (name, version) not in self._sets:
            raise TrackingError(f"{name} has no version {version}")
        self._aliases[name, alias] = version

    def tag_set(self, registered: RegisteredSet, tags: Mapping[str, str]) -> None:
        entry, files = self._sets[registered.name, registered.version]
        self._sets[entry.name, entry.version] = (replace(entry, tags={**entry.tags, **tags}), files)

    def delete_set(self, registered: RegisteredSet) -> bool:
        key = registered.name, registered.version
        if key not in self._sets:
            raise TrackingError(f"{registered.name} has no version {registered.version}")
        del self._sets[key]
        self._aliases = {at: version for at, version in self._aliases.items() if (at[0], version) != key}
        return True

    def list_sets(self, name: str | None = None) -> list[RegisteredSet]:
        entries = [self._entry(entry) for entry, _ in self._sets.values() if name in (None, entry.name)]
        return list(reversed(entries))

    def resolve_set(self, reference: str) -> RegisteredSet:
        parsed = parse_reference(reference)
        return pick(parsed, self.list_sets(parsed.name), {name for name, _ in self._sets})

    def download_set(self, registered: RegisteredSet, destination: Path) -> Path:
        _write(self._sets[registered.name, registered.version][1], destination)
        return destination

    def links(self, experiment: str, parent: str | None = None) -> dict[str, str]:
        return deep_links(DEFAULT_BASE, experiment, parent)

    def _run(self, run_id: str) -> MemoryRun:
        if run_id not in self.runs:
            raise UnknownSetError(f"no run {run_id!r} in {self.uri}")
        return self.runs[run_id]

    def _entry(self, entry: RegisteredSet) -> RegisteredSet:
        aliases = sorted(
            alias
            for (name, alias), version in self._aliases.items()
            if (name, version) == (entry.name, entry.version)
        )
        return RegisteredSet(
            entry.name, entry.version, tuple(aliases), entry.tags, entry.run_id, entry.created
        )


def _write(files: Mapping[str, bytes], destination: Path) -> None:
    for name, data in files.items():
        path = destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def opener(build: Callable[[StoreLocation], Tracker]) -> Callable[[StoreLocation], Tracker]:
    """Opens ``memory://NAME`` in memory, the same tracker for a name each time, and all else with ``build``."""
    trackers: dict[str, MemoryTracker] = {}

    def choose(location: StoreLocation) -> Tracker:
        if not location.uri.startswith("memory://"):
            return build(location)
        return trackers.setdefault(location.uri, MemoryTracker(location.uri))

    return choose
