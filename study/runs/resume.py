"""Finding a search again by name, with the configuration it was started with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.core.config import flatten, merge, parse_overrides, set_path
from study.core.errors import SearchError
from study.runs.config.configure import HEAD, RunConfig, restore
from study.runs.context.stores import StoreOptions, open_search_storage
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
    for option in ("space", "recipe"):
        if option in asked:
            raise SearchError(
                f"--{option} cannot change search {name!r}; start a new one with another --name"
            )
    overrides = parse_overrides(asked.get("overrides") or [])
    if "resolution" in asked:
        overrides = set_path(overrides, "data.resolution", asked["resolution"])
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
