"""What a stored set was made with, opened again: its configuration, and whether real images fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.core.config import merge
from study.core.errors import ConfigError, CorruptSetError, DataError
from study.runs.config.configure import RunConfig, restore
from study.runs.context.run_context import RunContext
from study.sets.files import StoredSet


def stored_config(stored: StoredSet, overrides: Mapping[str, Any]) -> RunConfig:
    """The configuration a set was made under, for this machine, with settings laid over it.

    Raises:
        CorruptSetError: its manifest lacks a part.
        ConfigError: an override is no setting.
    """
    try:
        plain = dict(stored.manifest.config)
        # The set may have been made elsewhere; this machine decides how it computes.
        plain["compute"] = {**plain["compute"], "device": "auto", "precision": "auto"}
        return restore(merge(plain, overrides))
    except KeyError as error:
        raise CorruptSetError(f"the manifest of {stored.manifest.name} lacks {error}") from error


def check_fingerprint(reference: str, stored: StoredSet, context: RunContext) -> None:
    """Refuse to score a set on other real data than it was made from.

    Raises:
        DataError: the fingerprints differ.
    """
    if context.splits.fingerprint != stored.manifest.dataset_fingerprint:
        raise DataError(
            f"{reference} was made from other {context.config.dataset} images (fingerprint "
            f"{stored.manifest.dataset_fingerprint[:12]}, here {context.splits.fingerprint[:12]})"
        )


def check_comparable(first: str, config: RunConfig, second: str, other: RunConfig) -> None:
    """Refuse two sets that would be scored on different real images.

    Raises:
        ConfigError: dataset, resolution or split differ.
    """
    for what, one, two in (
        ("dataset", config.dataset, other.dataset),
        ("resolution", config.data.resolution, other.data.resolution),
        ("validation_fraction", config.data.validation_fraction, other.data.validation_fraction),
        ("split_seed", config.data.split_seed, other.data.split_seed),
    ):
        if one != two:
            raise ConfigError(
                f"{first} has {what} = {one!r}, {second} has {two!r}: scored on different images, "
                "they cannot be compared"
            )


def config_in_space_of(config: RunConfig, other: RunConfig) -> RunConfig:
    """The first set's configuration, for images in the second one's normalised space."""
    data = config.data.model_copy(update={"preprocessing": other.data.preprocessing})
    return config.model_copy(update={"data": data, "ipc": other.ipc})
