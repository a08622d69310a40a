"""What the functions of this package take, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from study.core.spaces import Parameter
    from study.runs.config.configure import Request
    from study.runs.context.stores import StoreOptions

Settings = Mapping[str, Any] | Sequence[str] | None
"""Overrides: dotted keys (``{"distill.image_lr": 0.5}``), nested tables, or ``key=value`` words."""
SearchSpace = Mapping[str, "str | Parameter | None"] | Sequence[str] | None
"""Changes of a search space: ``{"distill.image_lr": "0.1:10:log"}``, or ``key=range`` words."""


class Requested(TypedDict, total=False):
    """What decides a configuration, besides method and dataset: keyword arguments that several functions share."""

    ipc: int
    """Synthetic images a class; by default 1."""
    budget: str
    """``smoke``, ``quick`` (the default), ``course`` or ``paper``: counts and sizes, or the published values."""
    seed: int
    """Root of every random number; by default 0."""
    trials: int | None
    """Trials to finish; by default the budget's."""
    objective: str | None
    """``accuracy`` (the default), ``cross-arch`` or ``accuracy,cross-arch``."""
    settings: Settings
    """Laid over recipe and budget."""
    space: SearchSpace
    """Changes of the search space."""
    recipe: Path | None
    """A TOML file in place of the shipped one of the pair."""
    variant: str | None
    """Named variant of the recipe."""
    resolution: int | Literal["auto"] | None
    """Pixels a side that real images are resized to; ``auto``: as many as the budget has time for."""
    dataset_name: str | None
    """Of your own images, for dataset ``folder``; by default that of their folder."""
    device: str
    """``auto`` (the default), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""


def request_of(method: str, dataset: str, asked: Requested, data_root: Path | str | None = None) -> Request:
    """The request that keyword arguments make; a dedicated one wins over ``settings``.

    Resolution ``auto`` looks at the sizes of the images below the data root.

    Raises:
        ConfigError: a word of ``settings`` or ``space`` cannot be read.
        DataError: with ``auto``, the data is not there or broken.
    """
    from study.core.config import set_path
    from study.runs.config.configure import Request
    from study.runs.config.resolution import with_fitting_side

    tree = nested(asked.get("settings"))
    device, resolution = asked.get("device", "auto"), asked.get("resolution")
    dedicated = {
        "data.resolution": None if resolution == "auto" else resolution,
        "data.name": asked.get("dataset_name"),
        "compute.device": None if device == "auto" else device,
        "search.num_trials": asked.get("trials"),
        "search.objective": asked.get("objective"),
    }
    for key, value in dedicated.items():
        tree = tree if value is None else set_path(tree, key, value)
    request = Request(
        method, dataset, asked.get("ipc", 1), asked.get("budget", "quick"), asked.get("seed", 0), tree,
        space_of(asked.get("space")), asked.get("recipe"), asked.get("variant"),
    )  # fmt: skip
    return with_fitting_side(request, path_of(data_root)) if resolution == "auto" else request


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
