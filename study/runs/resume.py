"""Finding a search again by name, with the configuration it was started with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.core.config import build, flatten, parse_overrides
from study.core.errors import SearchError
from study.runs.config.configure import RunConfig, restore
from study.runs.context.stores import StoreOptions, open_search_storage
from study.search.config import SearchConfig
from study.search.optimize import find_search


def resume_config(name: str, stores: StoreOptions, asked: Mapping[str, Any]) -> RunConfig:
    """The configuration of an existing search.

    Args:
        name: of the search.
        stores: where it is kept.
        asked: options the user repeated on the command line by name; they must agree.

    Raises:
        SearchError: there is no such search, or an option asks for something else.
    """
    notes = find_search(open_search_storage(stores), name).user_attrs
    if "config" not in notes:
        raise SearchError(f"search {name!r} was not started by `study tune`")
    config = restore(notes["config"])
    plain = flatten(config.plain())
    wanted = {key: value for key, value in asked.items() if key not in {"overrides", "resolution"}}
    if "resolution" in asked:
        wanted["data.resolution"] = asked["resolution"]
    wanted.update(_as_kept(flatten(parse_overrides(asked.get("overrides") or [])), config.search))
    for key, value in wanted.items():
        if key in {"space", "recipe"}:
            raise SearchError(f"--{key} cannot change search {name!r}; start a new one with another --name")
        if plain.get(key) != value:
            raise SearchError(
                f"search {name!r} has {key} = {plain.get(key)!r}, asked is {value!r}; "
                "leave the option out to continue it as it was, or start a new one with another --name"
            )
    return config


def _as_kept(overrides: Mapping[str, Any], search: SearchConfig) -> dict[str, Any]:
    """Settings of the search in the spelling that is stored, such as two objectives in one order."""
    asked = {
        key.removeprefix("search."): value for key, value in overrides.items() if key.startswith("search.")
    }
    kept = build(SearchConfig, {**search.model_dump(mode="json"), **asked}, "search").model_dump(mode="json")
    return {**overrides, **{f"search.{key}": kept[key] for key in asked}}
