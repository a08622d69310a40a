"""What there is: methods, protocols, real datasets, cached experts, and the UI on the store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.api.arguments import path_of

if TYPE_CHECKING:
    from study.runs.catalog.ui import View
    from study.runs.config.configure import RunConfig
    from study.runs.context.callbacks import Callback


def methods() -> dict[str, str]:
    """What each method does, in a line, by the name that ``--method`` takes.

    Example:
        >>> import study
        >>> "pad" in study.methods()
        True
    """
    from study.methods.base import METHODS

    return {name: (method.__doc__ or "").strip().split("\n")[0] for name, method in METHODS.items()}


def protocols() -> dict[str, str]:
    """What each protocol asks of a set, by the name that ``--protocol`` takes.

    Example:
        >>> import study
        >>> sorted(study.protocols())[:2]
        ['architectures', 'continual']
    """
    from study.protocols.base import PROTOCOLS

    return {name: protocol.about for name, protocol in PROTOCOLS.items()}


def recipes() -> dict[str, Any]:
    """Methods with their variants and recipes of pairs, datasets and budgets: what a request can name.

    Example:
        >>> import study
        >>> study.recipes()["budgets"]
        ['smoke', 'quick', 'course', 'paper']
    """
    from study.runs.catalog.recipes import list_recipes

    return list_recipes()


def datasets(data_root: Path | str | None = None) -> list[dict[str, Any]]:
    """Every real dataset with its properties, and whether its files are in the data root.

    Example:
        >>> import study
        >>> [row["present"] for row in study.datasets() if row["name"] == "digits"]
        [True]
    """
    from study.runs.catalog.datasets import list_datasets

    return list_datasets(path_of(data_root))


def prepare_dataset(
    name: str, *, data_root: Path | str | None = None, resolution: int | None = None
) -> dict[str, Any]:
    """Download or decode a real dataset, so that runs start at once.

    Raises:
        MissingDataError: it must be put there by hand; the message says how.
        DataError: a file is broken.

    Example:
        >>> import study
        >>> study.prepare_dataset("digits")["dataset"]
        'digits'
    """
    from study.runs.catalog.datasets import prepare_dataset as run

    return run(name, path_of(data_root), resolution)


def check_dataset(
    name: str, *, data_root: Path | str | None = None, resolution: int | None = None
) -> dict[str, Any]:
    """Load a real dataset fully and count what is in it.

    Raises:
        MissingDataError: its files are not there.
        DataError: a file is broken, or a class is too small to be split.

    Example:
        >>> import study
        >>> study.check_dataset("digits")["image_shape"]
        [1, 8, 8]
    """
    from study.runs.catalog.datasets import check_dataset as run

    return run(name, path_of(data_root), resolution)


def experts() -> dict[str, Any]:
    """Cached expert trajectories, last used first, and the disk they take.

    Example:
        >>> import study
        >>> study.experts()["bytes"] >= 0
        True
    """
    from study.runs.catalog.experts import list_experts

    return list_experts()


def plan_experts(config: RunConfig, *, data_root: Path | str | None = None) -> dict[str, Any]:
    """What :func:`build_experts` would train, and how long that may take.

    Example:
        >>> import study
        >>> study.plan_experts(study.configure("mtt", "digits", budget="smoke"))["experts"]
        1
    """
    from study.runs.catalog.experts import plan_build

    return plan_build(config, path_of(data_root))


def build_experts(
    config: RunConfig, *, data_root: Path | str | None = None, callback: Callback | None = None
) -> dict[str, Any]:
    """Train the experts of a configuration ahead of its search, as far as the cache lacks them.

    ``callback`` is told how far it has come, by ``on_work``.

    Raises:
        ConfigError: the method uses no experts.

    Example:
        >>> import study
        >>> study.build_experts(study.configure("mtt", "digits", budget="smoke"))["experts"]
        1
    """
    from study.runs.catalog.experts import build_experts as run

    return run(config, path_of(data_root), callback)


def prune_experts(
    *, max_gb: float | None = None, older_than_days: float | None = None, everything: bool = False
) -> dict[str, Any]:
    """Remove cached experts that no process is using, by default down to ``STUDY_CACHE_GB``.

    Example:
        >>> import study
        >>> sorted(study.prune_experts(max_gb=1.0))
        ['bytes', 'kept', 'removed']
    """
    from study.runs.catalog.experts import prune_experts as run

    return run(max_gb=max_gb, older_than_days=older_than_days, everything=everything)


def open_ui(
    tracking_uri: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    keep: bool = False,
) -> AbstractContextManager[View]:
    """Serve the tracking store in MLflow's UI for the length of a ``with`` block.

    Args:
        tracking_uri: MLflow store.
        host: address to listen on.
        port: by default the first free one from 5000 on.
        keep: leave the server running after the block.

    Raises:
        ConfigError: port or host cannot be used.
        TrackingError: the store cannot be opened, or the server does not come up.

    Example:
        >>> import study
        >>> with study.open_ui() as view:  # doctest: +SKIP
        ...     print(view.address)
    """
    from study.runs.catalog.ui import open_ui as run

    return run(tracking_uri, host=host, port=port, keep=keep)
