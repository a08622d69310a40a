"""The user's own images keep to one name: no other folder can take a place that was earned by theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from study.core.errors import DataError
from study.data.datasets import find_dataset
from study.data.names import name_of_folder
from study.data.splits import resolve_data_root
from study.runs.config.configure import RunConfig
from study.tracking.base import Tracker

if TYPE_CHECKING:
    from study.runs.context.run_context import RunContext


def named(config: RunConfig, data_root: Path | None) -> RunConfig:
    """The configuration with a name for the user's own images: that of their folder, unless they were given one."""
    if config.data.name is not None or not find_dataset(config.dataset).users_own:
        return config
    name = name_of_folder(resolve_data_root(data_root), config.dataset)
    return config.model_copy(update={"data": config.data.model_copy(update={"name": name})})


def check_same_images(tracker: Tracker, context: RunContext) -> None:
    """Refuse images under a name that other images already have in this store, before anything is trained.

    Raises:
        DataError: sets of that name are registered that were made from other images of the same resolution.
    """
    config, found = context.config, context.splits.fingerprint
    if not find_dataset(config.dataset).users_own:
        return
    versions = [entry for entry in tracker.list_sets() if entry.tags.get("dataset") == config.dataset]
    for entry in versions:
        same_name = entry.tags.get("dataset_name", config.dataset) == config.data_name
        same_size = entry.tags.get("resolution", "") == str(config.data.resolution or "")
        if same_name and same_size and entry.tags.get("fingerprint") != found:
            taken = {other.tags.get("dataset_name", config.dataset) for other in versions}
            free = next(
                name
                for number in range(2, len(taken) + 3)
                if (name := f"{config.data_name}-{number}") not in taken
            )
            raise DataError(
                f"{entry.name}/{entry.version} was made from other images named {config.data_name!r} (fingerprint "
                f"{entry.tags.get('fingerprint', '')[:12]}, here {found[:12]}); give these a name of their own, "
                f"such as --dataset-name {free}"
            )
