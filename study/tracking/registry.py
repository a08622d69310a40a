"""Registered synthetic sets in MLflow: a logged model without model code, so that it outlives its run."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study.core.errors import TrackingError
from study.tracking.base import RegisteredSet
from study.tracking.references import check_alias, check_set_name, parse_reference, pick
from study.tracking.stores import StoreLocation, translated

__all__ = ["MODEL_TYPE", "MlflowRegistry"]

MODEL_TYPE = "synthetic-set"
KIND_TAG = "study.kind"
MAX_CARD_LENGTH = 4900
_PAGE = 200
_LOCAL_IMAGE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*")


class MlflowRegistry:
    """The registry half of the tracker, on the same client."""

    def __init__(self, client: Any, location: StoreLocation) -> None:
        self._client = client
        self._location = location

    def register(
        self,
        folder: Path,
        name: str,
        *,
        experiment_id: str,
        run_id: str,
        tags: Mapping[str, str],
        card: str,
        alias: str | None,
    ) -> RegisteredSet:
        """Copy a folder into the store and enter it as a new version of ``name``.

        Raises:
            ConfigError: the name or the alias cannot be used.
            TrackingError: the store refuses; what was begun is marked as failed there.
        """
        check_set_name(name)
        if alias is not None:
            check_alias(alias)
        every = {**tags, KIND_TAG: MODEL_TYPE}
        with translated(self._location.shown):
            model = self._client.create_logged_model(
                experiment_id,
                name=name.replace(".", "-"),
                source_run_id=run_id,
                tags=every,
                model_type=MODEL_TYPE,
            )
            try:
                self._client.log_model_artifacts(model.model_id, str(folder))
                self._client.finalize_logged_model(model.model_id, "READY")
                self._ensure_name(name)
                with _process_uri(self._location):
                    version = self._client.create_model_version(
                        name,
                        f"models:/{model.model_id}",
                        run_id,
                        tags=every,
                        description=_description(card),
                        model_id=model.model_id,
                    )
            except BaseException:
                with contextlib.suppress(Exception):
                    self._client.finalize_logged_model(model.model_id, "FAILED")
                raise
            # The client links only from the version to the files; the page of the files wants this to link back.
            entry = [{"name": name, "version": version.version}]
            self._client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": json.dumps(entry)})
            if alias is not None:
                self._client.set_registered_model_alias(name, alias, str(version.version))
        return _entry(version, (alias,) if alias else ())

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version that exists."""
        check_alias(alias)
        with translated(self._location.shown):
            self._client.set_registered_model_alias(name, alias, version)

    def versions(self, name: str | None = None) -> list[RegisteredSet]:
        """Every version of every set, or of one name, newest first."""
        with translated(self._location.shown):
            models = [model for model in self._models() if name is None or model.name == name]
            entries = [entry for model in models for entry in self._versions_of(model)]
        return sorted(entries, key=lambda entry: (entry.created, int(entry.version)), reverse=True)

    def resolve(self, reference: str) -> RegisteredSet:
        """The version a reference means; raises ``UnknownSetError`` with the choices."""
        parsed = parse_reference(reference)
        with translated(self._location.shown):
            models = self._models()
            chosen = [model for model in models if model.name == parsed.name]
            versions = [entry for model in chosen for entry in self._versions_of(model)]
        versions.sort(key=lambda entry: int(entry.version), reverse=True)
        return pick(parsed, versions, [model.name for model in models])

    def download(self, registered: RegisteredSet, destination: Path) -> Path:
        """Copy the files of a version; an empty answer, which MLflow gives for a moved store, is an error."""
        with translated(self._location.shown):
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            # By way of the location and not of "models:/...", which asks the process-wide tracking URI.
            location = self._client.get_model_version_download_uri(registered.name, registered.version)
            if location.startswith("models:/"):
                model = self._client.get_logged_model(location.removeprefix("models:/"))
                location = model.artifact_location
            destination.mkdir(parents=True, exist_ok=True)
            repository = get_artifact_repository(
                location, tracking_uri=self._location.uri, registry_uri=self._location.uri
            )
            repository.download_artifacts("", str(destination))
        if not any(destination.iterdir()):
            raise TrackingError(
                f"{registered.name}/{registered.version} has no files in {location}; "
                "if the store was moved, its files are still looked for in the old place"
            )
        return destination

    def _ensure_name(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(
                name, tags={KIND_TAG: MODEL_TYPE}, description="Versions of a synthetic set, made by study."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _models(self) -> list[Any]:
        models, token = [], None
        while True:
            page = self._client.search_registered_models(
                f"tags.`{KIND_TAG}` = '{MODEL_TYPE}'", max_results=_PAGE, page_token=token
            )
            models += list(page)
            token = page.token
            if not token:
                return models

    def _versions_of(self, model: Any) -> list[RegisteredSet]:
        # A search leaves aliases out of versions, so they are read from the name.
        aliases: dict[str, list[str]] = {}
        for alias, version in self._client.get_registered_model(model.name).aliases.items():
            aliases.setdefault(str(version), []).append(alias)
        entries, token = [], None
        while True:
            page = self._client.search_model_versions(
                f"name = '{model.name}'", max_results=_PAGE, page_token=token
            )
            entries += [
                _entry(version, tuple(sorted(aliases.get(str(version.version), ())))) for version in page
            ]
            token = page.token
            if not token:
                return entries


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
    return RegisteredSet(
        name=version.name,
        version=str(version.version),
        aliases=aliases,
        tags=dict(version.tags),
        run_id=version.run_id or "",
        created=version.creation_timestamp / 1000,
    )


def _description(card: str) -> str:
    """A card as the page of a version shows it: without pictures from the folder, which the page cannot reach."""
    text = _LOCAL_IMAGE.sub("", card)
    # The column for it holds 5000 signs; the whole card lies in the set as README.md.
    return text if len(text) <= MAX_CARD_LENGTH else text[:MAX_CARD_LENGTH] + "\n\n… more in README.md"
