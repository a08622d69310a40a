"""The tracker on MLflow: runs by explicit id, searches over them, artifacts; sets are left to its base."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.core.errors import TrackingError, UnknownSetError
from study.tracking.base import RunInfo
from study.tracking.links import DEFAULT_BASE, SEARCHES, deep_links, run_color, runs_view, searches_view
from study.tracking.provenance import provenance, user_name
from study.tracking.recorder import MAX_TAG_LENGTH, MlflowRecorder, shorten
from study.tracking.registry import MlflowRegistry
from study.tracking.stores import StoreLocation, every_page, translated

VIEW_METRICS = ("objective", "val/gain_over_random", "val/accuracy_std", "cost/distill_seconds")
FRONT_METRICS = ("val/accuracy", "cross/mean")
FRONT_TAG = "study.on_front"
"""Trials of a search with two objectives have it, and are then shown with both."""
MAX_VIEW_PARAMS = 8


class MlflowTracker(MlflowRegistry):
    """A :class:`study.tracking.base.Tracker` on an MLflow store, opened when it is made.

    Raises:
        TrackingError: the store does not answer or cannot be used.
    """

    def __init__(self, location: StoreLocation) -> None:
        super().__init__(location)
        self._experiments: dict[str, str] = {}

    def start_run(
        self, experiment: str, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> MlflowRecorder:
        """Open a run, as a child of ``parent`` if given; a child gets a colour by its ``study.trial``."""
        every = {**_platform_tags(), **(tags or {})}
        if parent is not None:
            trial = every.get("study.trial", "")
            index = int(trial) if trial.isdecimal() else zlib.crc32(name.encode())
            every.update({"mlflow.parentRunId": parent, "mlflow.runColor": run_color(index)})
        with translated(self.location.shown):
            run = self._client.create_run(
                self._experiment_id(experiment),
                tags={key: shorten(value, MAX_TAG_LENGTH) for key, value in every.items()},
                run_name=name,
            )
        return MlflowRecorder(self._client, run.info.run_id, self.location.shown)

    def resume_run(self, run_id: str) -> MlflowRecorder:
        """Open an existing run again and mark it running."""
        self._run(run_id)
        with translated(self.location.shown):
            self._client.update_run(run_id, status="RUNNING")
        return MlflowRecorder(self._client, run_id, self.location.shown)

    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a run that may have ended; its status and times stay."""
        self._run(run_id)
        MlflowRecorder(self._client, run_id, self.location.shown).set_tags(tags)

    def find_runs(
        self, experiment: str | None = None, tags: Mapping[str, str] | None = None
    ) -> list[RunInfo]:
        """Runs of an experiment (or of all) that carry all these tags, newest first."""
        return [_info(run, name) for run, name in self._search(experiment, tags or {})]

    def get_run(self, run_id: str) -> RunInfo:
        """One run by id; raises ``UnknownSetError`` where there is none."""
        run = self._run(run_id)
        with translated(self.location.shown):
            experiment = self._client.get_experiment(run.info.experiment_id)
        return _info(run, experiment.name)

    def end_stale_runs(self, tags: Mapping[str, str], keep: frozenset[str] = frozenset()) -> list[str]:
        """End as KILLED every RUNNING run with these tags, except those kept; gives their ids."""
        found = self._search(None, tags, "attributes.status = 'RUNNING'")
        stale = [run.info.run_id for run, _ in found if run.info.run_id not in keep]
        for run_id in stale:
            with translated(self.location.shown):
                self._client.set_tag(run_id, "study.ended", "found running without a process")
                self._client.set_terminated(run_id, "KILLED")
        return stale

    def download(self, run_id: str, path: str, destination: Path) -> Path:
        """Copy an artifact file or folder of a run into a folder; gives the local path.

        Raises:
            UnknownSetError: the run does not exist, or holds nothing under that path.
        """
        run = self._run(run_id)
        destination.mkdir(parents=True, exist_ok=True)
        from mlflow.exceptions import MlflowException

        # For a path that is not there MLflow raises, or gives an empty folder, depending on where files are kept.
        with translated(self.location.shown):
            try:
                # Of a nested path it keeps the last part only, so its answer says where the copy is.
                local = Path(self._client.download_artifacts(run_id, path, str(destination)))
            except (MlflowException, OSError) as error:
                if not re.search("No such artifact|Failed to download artifacts", str(error)):
                    raise
                local = destination / "nothing"
        if not local.exists() or (local.is_dir() and not any(local.iterdir())):
            raise UnknownSetError(
                f"run {run_id} has no artifact {path!r} in {run.info.artifact_uri}; "
                "if the store was moved, its files are still looked for in the old place"
            )
        return local

    def links(self, experiment: str, parent: str | None = None) -> dict[str, str]:
        """Addresses in the UI by name; they work once ``study ui`` runs."""
        base = self.uri if self.location.is_server else DEFAULT_BASE
        experiment_id = self._experiment_id(experiment)
        view = None if parent is None else self._store_view(experiment, experiment_id, parent)
        return deep_links(base, experiment_id, parent, view)

    def _store_view(self, experiment: str, experiment_id: str, parent: str) -> str:
        """Keep a view of a search's trials with the columns that tell them apart; gives its key."""
        trials = self.find_runs(experiment, {"mlflow.parentRunId": parent})
        names = sorted({name for trial in trials for name in trial.params})
        varied = [name for name in names if len({trial.params.get(name) for trial in trials}) > 1]
        metrics, tags = list(VIEW_METRICS), ["optuna.state"]
        if any(FRONT_TAG in trial.tags for trial in trials):
            metrics += FRONT_METRICS
            tags.append(FRONT_TAG)
        view = runs_view(parent, metrics, varied[:MAX_VIEW_PARAMS], tags)
        with translated(self.location.shown):
            self._client.set_experiment_tag(
                experiment_id, f"mlflow.sharedViewState.{parent}", json.dumps(view)
            )
        return parent

    def _experiment_id(self, name: str) -> str:
        if name not in self._experiments:
            with translated(self.location.shown):
                self._experiments[name] = self._find_or_create_experiment(name)
        return self._experiments[name]

    def _find_or_create_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            folder = self.location.artifacts
            # Left to itself MLflow would put files below whatever folder the process was started in.
            artifacts = None if folder is None else (folder / name).as_uri()
            try:
                return str(
                    self._client.create_experiment(
                        name, artifact_location=artifacts, tags=_experiment_tags(name)
                    )
                )
            except MlflowException:
                # Another process was quicker.
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            raise TrackingError(
                f"experiment {name!r} was deleted in {self.location.shown}; restore it in the UI, "
                "or remove it for good with `mlflow gc`"
            )
        return str(experiment.experiment_id)

    def _search(
        self, experiment: str | None, tags: Mapping[str, str], condition: str = ""
    ) -> list[tuple[Any, str]]:
        """Runs with the names of their experiments, newest first."""
        clauses = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        query = " AND ".join([*clauses, condition] if condition else clauses)
        with translated(self.location.shown):
            if experiment is None:
                experiments = list(every_page(self._client.search_experiments))
            else:
                found = self._client.get_experiment_by_name(experiment)
                experiments = [] if found is None else [found]
            names = {entry.experiment_id: entry.name for entry in experiments}
            if not names:
                return []
            order = ["attributes.start_time DESC"]
            runs = every_page(self._client.search_runs, list(names), query, order_by=order)
            return [(run, names[run.info.experiment_id]) for run in runs]


def _experiment_tags(name: str) -> dict[str, str]:
    """What the page of an experiment says of it, and the view of its searches."""
    return {
        "mlflow.note.content": (
            f"**{name}**: synthetic sets of one dataset and size, by every method that was tried. A run of kind "
            "`search` has its trials below it and says what won; all scores stand beside random real images under "
            "the same recipe. Nothing is chosen on test."
        ),
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{SEARCHES}": json.dumps(searches_view()),
    }


def _quoted(value: str) -> str:
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise TrackingError(f"cannot search for the tag value {value!r}: it holds both kinds of quotes")


def _info(run: Any, experiment: str) -> RunInfo:
    info, data = run.info, run.data
    params, metrics, tags = dict(data.params), dict(data.metrics), dict(data.tags)
    started = None if info.start_time is None else info.start_time / 1000
    return RunInfo(info.run_id, info.run_name or "", info.status, experiment, params, metrics, tags, started)


def _platform_tags() -> dict[str, str]:
    """The tags behind MLflow's own columns, which its fluent interface would fill in."""
    tags = {"mlflow.source.name": "study", "mlflow.source.type": "LOCAL"}
    if commit := provenance().get("git_commit"):
        tags["mlflow.source.git.commit"] = commit
    if user := user_name():
        tags["mlflow.user"] = user
    return tags
