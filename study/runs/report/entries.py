"""What the store knows of every run that a report shows: scores with deviation and n, pictures, figures, origin."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from study.core.errors import StudyError, UnknownSetError
from study.runs.catalog.measures import MEASURES, Measured, architectures, measured
from study.runs.catalog.runs import trials_of
from study.runs.figures.run import GRID_KEY
from study.runs.report.command import reproduce_command
from study.sets.files import verify_set
from study.sets.manifest import Manifest
from study.tracking.base import RegisteredSet, RunInfo, Tracker

COST = re.compile(r"cost/(\w+)_seconds")
WHOLE = "search"
"""Of the costs, the one that is the sum of the others."""
_GRID = re.compile(rf"{re.escape(GRID_KEY)}[+%]step[+%](\d+).*\.png")


@dataclass(frozen=True)
class Entry:
    """One search or distillation of a report.

    Attributes:
        run: its own run.
        trials: those of a search, by number.
        winner: the run that holds the chosen set; the run itself where nothing was chosen.
        scores: by the keys of :data:`study.runs.catalog.measures.MEASURES`.
        others: the set on other architectures, by name.
        random_others: random real images there.
        registered: the version it led to.
        manifest: of that version, read after its files were checked.
        grids: PNG bytes of the winner's images at their first and last iteration.
        command: makes it again; empty where ``notes`` say why not.
        notes: what could not be read.
    """

    run: RunInfo
    trials: tuple[RunInfo, ...]
    winner: RunInfo
    scores: Mapping[str, Measured]
    others: Mapping[str, Measured]
    random_others: Mapping[str, Measured]
    registered: RegisteredSet | None = None
    manifest: Manifest | None = None
    grids: Mapping[int, bytes] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the search, or of the run."""
        return self.run.tags.get("study.search", self.run.name)

    @property
    def metric(self) -> str:
        """What its scores are, in words."""
        score = None if self.manifest is None else self.manifest.scores.get("test")
        return "accuracy" if score is None else score.metric.replace("_", " ")

    @property
    def model(self) -> str:
        """The network it was distilled with."""
        return self.run.params.get("model.name", "its own network")

    @property
    def cost(self) -> dict[str, float]:
        """Seconds by part."""
        found = {
            match[1]: value for name, value in self.run.metrics.items() if (match := COST.fullmatch(name))
        }
        return {part: seconds for part, seconds in found.items() if part != WHOLE}

    @property
    def seconds(self) -> float | None:
        """In all."""
        return self.run.metrics.get("cost/search_seconds") or sum(self.cost.values()) or None

    @property
    def params(self) -> dict[str, str]:
        """What the search chose."""
        return dict(self.winner.params) if self.trials else {}

    @property
    def made(self) -> str:
        """When it was started, in UTC."""
        started = self.run.started
        return "" if started is None else datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M UTC")


def read_entry(tracker: Tracker, run: RunInfo) -> Entry:
    """Everything about one search or distillation; a part that cannot be read becomes a note."""
    trials: list[RunInfo] = []
    if run.tags.get("study.kind") == "search":
        trials = sorted(trials_of(tracker, run), key=lambda one: int(one.tags.get("study.trial", "-1")))
    won = run.tags.get("study.winner")
    winner = next((one for one in trials if won is not None and one.tags.get("study.trial") == won), run)
    notes: list[str] = []
    registered, manifest = _manifest(tracker, run, notes)
    grids: dict[int, bytes] = {}
    command = ""
    try:
        grids = _grids(tracker, winner)
    except UnknownSetError:
        notes.append("no pictures are stored")
    try:
        command = reproduce_command(run)
    except StudyError as error:
        notes.append(f"no command: {error}")
    others, random_others = architectures("cross/", run, winner), architectures("random/cross_", run, winner)
    scores = {key: measured(key, run, winner) for key in MEASURES}
    if manifest is not None:
        scores, others, random_others = _completed(manifest, scores, others, random_others)
    return Entry(
        run,
        tuple(trials),
        winner,
        scores,
        others,
        random_others,
        registered,
        manifest,
        grids,
        command,
        tuple(notes),
    )


def _manifest(
    tracker: Tracker, run: RunInfo, notes: list[str]
) -> tuple[RegisteredSet | None, Manifest | None]:
    reference = run.tags.get("study.set")
    if not reference:
        return None, None
    try:
        registered = tracker.resolve_set(reference)
        with tempfile.TemporaryDirectory() as folder:
            return registered, verify_set(tracker.download_set(registered, Path(folder) / "set"))
    except StudyError as error:
        notes.append(f"set {reference}: {error}")
        return None, None


def _grids(tracker: Tracker, run: RunInfo) -> dict[int, bytes]:
    """The first and the last picture that the run recorded, by iteration."""
    with tempfile.TemporaryDirectory() as folder:
        images = tracker.download(run.run_id, "images", Path(folder))
        found = {int(match[1]): path for path in images.iterdir() if (match := _GRID.fullmatch(path.name))}
        return {step: found[step].read_bytes() for step in sorted({min(found), max(found)})} if found else {}


def _completed(
    manifest: Manifest,
    scores: Mapping[str, Measured],
    others: Mapping[str, Measured],
    random_others: Mapping[str, Measured],
) -> tuple[dict[str, Measured], dict[str, Measured], dict[str, Measured]]:
    """What the run lacks, from the manifest: whole scores, and the n of a mean that is the same there."""
    full = dict(scores)
    for key in ("validation", "test", "random_validation", "random_test"):
        record, known = manifest.scores.get(key), full[key]
        if (
            record is not None
            and (known.mean is None or known.n is None)
            and known.mean in (None, record.mean)
        ):
            full[key] = Measured(record.mean, record.std if record.n > 1 else None, record.n)
    if (cross := manifest.cross) is None:
        return full, dict(others), dict(random_others)
    sides = []
    for key, own, values, n in (
        ("cross", others, cross.distilled, cross.n),
        ("random_cross", random_others, cross.random, cross.random_n or cross.n),
    ):
        if full[key].mean in (None, values.get("mean")) and full[key].n is None:
            full[key] = Measured(values.get("mean"), full[key].std, n if values else None)
        names = [name for name in values if name not in {"mean", "worst"}]
        sides.append(dict(own) or {name: Measured(values[name]) for name in names})
        if all(one.n is None and one.mean == values.get(name) for name, one in sides[-1].items()):
            sides[-1] = {name: Measured(one.mean, one.std, n) for name, one in sides[-1].items()}
    return full, sides[0], sides[1]


def read_entries(tracker: Tracker, runs: Sequence[RunInfo]) -> list[Entry]:
    """Every run, by data and then by test score, the best first."""
    entries = [read_entry(tracker, run) for run in runs]

    def order(entry: Entry) -> tuple[str, float]:
        best = entry.scores["test"].mean or entry.scores["validation"].mean
        return entry.run.experiment, -(best or 0.0)

    return sorted(entries, key=order)
