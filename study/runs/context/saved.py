"""Configurations that are kept: with a search, to continue it; with a set, to judge it or make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from study.core.config import flatten, merge, parse_overrides, set_path
from study.core.errors import ConfigError, CorruptSetError, DataError, SearchError
from study.runs.config.configure import HEAD, Request, RunConfig, configure, restore
from study.runs.context.run_context import RunContext
from study.runs.context.stores import StoreOptions, open_search_storage
from study.search.optimize import find_search
from study.sets.files import StoredSet


def resume_config(name: str, stores: StoreOptions, asked: Mapping[str, Any]) -> RunConfig:
    """The configuration of an existing search; options that are asked for again by name must agree with it.

    Raises:
        SearchError: there is no such search, or an option asks for something else.
    """
    notes = find_search(open_search_storage(stores), name).user_attrs
    if "config" not in notes:
        raise SearchError(f"search {name!r} was not started by `study tune`")
    config = restore(notes["config"])
    for option in ("space", "recipe"):
        if option in asked:
            raise SearchError(
                f"--{option} cannot change search {name!r}; start a new one with another --name"
            )
    overrides = parse_overrides(asked.get("overrides") or [])
    if asked.get("resolution", "auto") != "auto":  # chosen when the search was started
        overrides = set_path(overrides, "data.resolution", asked["resolution"])
    if "dataset_name" in asked:
        overrides = set_path(overrides, "data.name", asked["dataset_name"])
    # Resolved, since objectives are stored in one order.
    wanted = flatten(restore(merge(config.plain(), overrides)).plain())
    wanted.update({key: asked[key] for key in HEAD if key in asked})
    kept = flatten(config.plain())
    for key, value in wanted.items():
        if kept.get(key) != value:
            raise SearchError(
                f"search {name!r} has {key} = {kept.get(key)!r}, asked is {value!r}; "
                "leave the option out to continue it as it was, or start a new one with another --name"
            )
    return config


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


def twin_command(config: RunConfig, changes: Mapping[str, Any]) -> str:
    """The `study distill` that makes a set again with some settings changed, given by dotted keys."""
    request = Request(**{key: getattr(config, key) for key in HEAD})
    usual, wanted = (_settings(one) for one in (configure(request), config))
    settings = {key: value for key, value in {**wanted, **changes}.items() if usual.get(key) != value}
    words = ["study", "distill", "--method", config.method, "--dataset", config.dataset,
             "--ipc", str(config.ipc), "--budget", config.budget]  # fmt: skip
    words += ["--seed", str(config.seed)] if config.seed else []
    words += ["--variant", config.variant] if config.variant is not None else []
    for key, value in settings.items():
        words += ["--set", f"{key}={override_text(value)}"]
    return shlex.join(words)


def override_text(value: Any) -> str:
    """A value as ``--set`` reads it."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def _settings(config: RunConfig) -> dict[str, Any]:
    """What decides the images and their recipe, by dotted key."""
    plain = config.plain()
    return flatten({part: plain[part] for part in ("data", "model", "distill", "evaluation")})
