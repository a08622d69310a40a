"""Registered synthetic sets in MLflow: a logged model without model code, so that it outlives its run."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study.core.errors import TrackingError, UnknownSetError
from study.tracking.base import RegisteredSet
from study.tracking.references import check_alias, check_set_name, parse_reference, pick
from study.tracking.stores import StoreLocation, connect, every_page, translated

MODEL_TYPE = "synthetic-set"
KIND_TAG = "study.kind"
MAX_CARD_LENGTH = 4900
_LOCAL_IMAGE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*")


class MlflowRegistry:
    """The part of :class:`study.tracking.base.Tracker` that keeps sets, on a store opened when it is made.

    Raises:
        TrackingError: the store does not answer or cannot be used.
    """

    def __init__(self, location: StoreLocation) -> None:
        self.uri = location.uri
        self.location = location
        self._client = connect(location)

    def register_set(self, folder: Path, name: str, *, run_id: str, tags: Mapping[str, str],
                     card: str, alias: str | None = None,
                     scores: Mapping[str, float] | None = None) -> RegisteredSet:  # fmt: skip
        """Store a set folder as a new version of ``name``, independent of the run's life.

        ``scores`` stand on its page, by which versions can be ordered, with the dataset of the run.

        Raises:
            ConfigError: the name or the alias cannot be used.
            UnknownSetError: there is no such run.
            TrackingError: the store refuses; what was begun is marked as failed there.
        """
        check_set_name(name)
        if alias is not None:
            check_alias(alias)
        experiment_id = self._run(run_id).info.experiment_id
        every = {**tags, KIND_TAG: MODEL_TYPE}
        with translated(self.location.shown):
            model = self._client.create_logged_model(
                experiment_id, name.replace(".", "-"), run_id, tags=every, model_type=MODEL_TYPE
            )
            try:
                self._client.log_model_artifacts(model.model_id, str(folder))
                self._client.finalize_logged_model(model.model_id, "READY")
                self._ensure_name(name)
                with _process_uri(self.location):
                    version = self._client.create_model_version(
                        name, f"models:/{model.model_id}", run_id, tags=every,
                        description=_description(card), model_id=model.model_id,
                    )  # fmt: skip
            except BaseException:
                with contextlib.suppress(Exception):
                    self._client.finalize_logged_model(model.model_id, "FAILED")
                raise
            self._log_scores(model.model_id, run_id, scores or {})
            # The client links only from the version to the files; the page of the files wants this to link back.
            entry = [{"name": name, "version": version.version}]
            self._client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": json.dumps(entry)})
            if alias is not None:
                self._client.set_registered_model_alias(name, alias, str(version.version))
        return _entry(version, (alias,) if alias else ())

    def _log_scores(self, model_id: str, run_id: str, scores: Mapping[str, float]) -> None:
        """Log scores on the logged model, of the dataset that is an input of the run."""
        run = self._client.get_run(run_id)
        data = next((one.dataset for one in run.inputs.dataset_inputs), None)
        about = {} if data is None else {"dataset_name": data.name, "dataset_digest": data.digest}
        for name, value in scores.items():
            self._client.log_metric(run_id, name, value, model_id=model_id, **about)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias of a registered name at a version."""
        check_alias(alias)
        with translated(self.location.shown):
            self._client.set_registered_model_alias(name, alias, version)

    def tag_set(self, registered: RegisteredSet, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a version."""
        with translated(self.location.shown):
            for key, value in tags.items():
                self._client.set_model_version_tag(registered.name, registered.version, key, value)

    def delete_set(self, registered: RegisteredSet) -> bool:
        """Delete a version with its aliases, and its files where no other version has the same.

        Returns:
            Whether the files were deleted too.
        """
        with translated(self.location.shown):
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            version = self._client.get_model_version(registered.name, registered.version)
            sources = [
                other.source
                for name in self._names()
                for other in every_page(self._client.search_model_versions, f"name = '{name}'")
            ]
            for alias in registered.aliases:
                self._client.delete_registered_model_alias(registered.name, alias)
            self._client.delete_model_version(registered.name, registered.version)
            # Files that study did not store for this version alone are left where they are.
            model_id = version.source.removeprefix("models:/")
            if model_id == version.source or sources.count(version.source) > 1:
                return False
            place = self._client.get_logged_model(model_id).artifact_location
            get_artifact_repository(place, tracking_uri=self.uri, registry_uri=self.uri).delete_artifacts()
            self._client.delete_logged_model(model_id)
        return True

    def list_sets(self, name: str | None = None) -> list[RegisteredSet]:
        """Every version of every registered set (or of one name), newest first."""
        with translated(self.location.shown):
            names = [known for known in self._names() if name in (None, known)]
            entries = [entry for known in names for entry in self._versions(known)]
        return sorted(entries, key=lambda entry: (entry.created, int(entry.version)), reverse=True)

    def resolve_set(self, reference: str) -> RegisteredSet:
        """The version behind ``name``, ``name@alias`` or ``name/version``; bare names mean ``@best``, else newest."""
        parsed = parse_reference(reference)
        with translated(self.location.shown):
            names = self._names()
            versions = self._versions(parsed.name) if parsed.name in names else []
        versions.sort(key=lambda entry: int(entry.version), reverse=True)
        return pick(parsed, versions, names)

    def download_set(self, registered: RegisteredSet, destination: Path) -> Path:
        """Copy the files of a version into ``destination`` (created); the caller verifies them.

        Raises:
            TrackingError: there are none, which MLflow says of a moved store by an empty answer.
        """
        with translated(self.location.shown):
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            # By way of the location and not of "models:/...", which asks the process-wide tracking URI.
            place = self._client.get_model_version_download_uri(registered.name, registered.version)
            if place.startswith("models:/"):
                place = self._client.get_logged_model(place.removeprefix("models:/")).artifact_location
            destination.mkdir(parents=True, exist_ok=True)
            repository = get_artifact_repository(place, tracking_uri=self.uri, registry_uri=self.uri)
            repository.download_artifacts("", str(destination))
        if not any(destination.iterdir()):
            raise TrackingError(
                f"{registered.name}/{registered.version} has no files in {place}; "
                "if the store was moved, its files are still looked for in the old place"
            )
        return destination

    def _run(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        with translated(self.location.shown):
            try:
                return self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    raise
                raise UnknownSetError(f"no run {run_id!r} in {self.location.shown}") from error

    def _ensure_name(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(
                name, tags={KIND_TAG: MODEL_TYPE}, description="Versions of a synthetic set, made by study."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _names(self) -> list[str]:
        query = f"tags.`{KIND_TAG}` = '{MODEL_TYPE}'"
        return [model.name for model in every_page(self._client.search_registered_models, query)]

    def _versions(self, name: str) -> list[RegisteredSet]:
        # A search leaves aliases out of versions, so they are read from the name.
        aliases: dict[str, list[str]] = {}
        for alias, version in self._client.get_registered_model(name).aliases.items():
            aliases.setdefault(str(version), []).append(alias)
        found = every_page(self._client.search_model_versions, f"name = '{name}'")
        return [_entry(version, tuple(sorted(aliases.get(str(version.version), ())))) for version in found]


@contextlib.contextmanager
def _process_uri(location: StoreLocation) -> Iterator[None]:
    """Point MLflow's process-wide URI at a store for one call.

    Its database registry looks up ``models:/m-...`` through the process-wide URI instead of its own (a
    TODO in its source); the other way to register, by file location, cuts the page of a version off
    from its files. A server does the look-up on its side.
    """
    if location.is_server:
        yield
        return
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        with _use_tracking_uri(location.uri):
            yield
    finally:
        # The helper restores its own variable but drops what the user had in the environment.
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _entry(version: Any, aliases: tuple[str, ...]) -> RegisteredSet:
    created = version.creation_timestamp / 1000
    tags, run_id = dict(version.tags), version.run_id or ""
    return RegisteredSet(version.name, str(version.version), aliases, tags, run_id, created)


def _description(card: str) -> str:
    """A card as the page of a version shows it: without pictures from the folder, which the page cannot reach."""
    text = _LOCAL_IMAGE.sub("", card)
    # The column for it holds 5000 signs; the whole card lies in the set as README.md.
    return text if len(text) <= MAX_CARD_LENGTH else text[:MAX_CARD_LENGTH] + "\n\n… more in README.md"
