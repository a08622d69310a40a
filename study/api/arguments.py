"""What the functions of this package take, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.core.spaces import Parameter
    from study.runs.context.stores import StoreOptions

Settings = Mapping[str, Any] | Sequence[str] | None
"""Overrides: dotted keys (``{"distill.image_lr": 0.5}``), nested tables, or ``key=value`` words."""
SearchSpace = Mapping[str, "str | Parameter | None"] | Sequence[str] | None
"""Changes of a search space: ``{"distill.image_lr": "0.1:10:log"}``, or ``key=range`` words."""


def stores_of(
    tracking_uri: str | None, storage: str | None = None, data_root: Path | str | None = None
) -> StoreOptions:
    """Addresses of the stores."""
    from study.runs.context.stores import StoreOptions

    return StoreOptions(tracking_uri=tracking_uri, storage=storage, data_root=path_of(data_root))


def path_of(path: Path | str | None) -> Path | None:
    """A path from text."""
    return None if path is None else Path(path)


def check_output(output: Path | str | None) -> None:
    """Refuse an output folder that holds something, before hours are spent."""
    from study.core.errors import ConfigError

    folder = path_of(output)
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--output {output} exists and is not empty; choose a new folder")


def nested(settings: Settings) -> dict[str, Any]:
    """Settings as nested tables.

    Raises:
        ConfigError: a word is no ``key=value``.
    """
    from study.core.config import merge, parse_overrides, set_path

    if settings is None or not isinstance(settings, Mapping):
        return parse_overrides(settings or ())
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        tree = merge(tree, set_path({}, key, value))
    return tree


def space_of(space: SearchSpace) -> dict[str, Parameter | None]:
    """Changes of a search space as parameters; None takes one out.

    Raises:
        ConfigError: a range cannot be read.
    """
    from study.core.spaces import parse_space

    if space is None or not isinstance(space, Mapping):
        return parse_space(space or ())
    words = [f"{key}={text}" for key, text in space.items() if isinstance(text, str)]
    return {**{key: one for key, one in space.items() if not isinstance(one, str)}, **parse_space(words)}
