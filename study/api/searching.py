"""Searches and single distillations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from study.api.arguments import Requested, check_output, path_of, request_of, stores_of

if TYPE_CHECKING:
    from study.runs.catalog.recipes import Composition
    from study.runs.config.configure import RunConfig
    from study.runs.context.callbacks import Callback
    from study.runs.plan import Plan
    from study.runs.registration.results import SearchResult


def tune(
    method: str,
    dataset: str = "digits",
    *,
    name: str | None = None,
    timeout: float | None = None,
    data_root: Path | str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    output: Path | str | None = None,
    callback: Callback | None = None,
    **asked: Unpack[Requested],
) -> SearchResult:
    """Search the hyperparameters of a method on validation, track every trial, register the best set.

    Args:
        method: such as ``"pad"``; :func:`methods` gives all.
        dataset: such as ``"digits"``; :func:`datasets` gives all.
        name: of the search; by default the set's name and a number.
        timeout: seconds after which no further trial starts.
        data_root: where real datasets lie.
        storage: Optuna storage; by default ``mlruns/optuna.db``.
        tracking_uri: MLflow store; by default ``./mlruns``.
        output: folder for a copy of the winning set.
        callback: told what happens.
        asked: ``ipc``, ``budget``, ``seed``, ``trials``, ``objective``, ``settings``, ``space``, ``recipe``,
            ``variant``, ``resolution``, ``device``; see :class:`study.api.arguments.Requested`.

    Returns:
        The winner with validation and test scores, beside random real images.

    Raises:
        StudyError: data, store or configuration is at fault, or no trial finished.
        KeyboardInterrupt: interrupted; finished trials are kept, see :func:`resume`.

    Example:
        >>> import study
        >>> result = study.tune("dm", "digits", ipc=1, budget="smoke", trials=1)
        >>> result.winner.set
        'digits-dm-ipc1/1'
        >>> study.load("digits-dm-ipc1@best").images.shape
        torch.Size([10, 1, 8, 8])
    """
    from study.runs.tune import tune as run

    config = configure(method, dataset, data_root=data_root, **asked)
    check_output(output)
    return run(
        config, stores_of(tracking_uri, storage, data_root), callback, name=name, timeout_seconds=timeout,
        num_trials=asked.get("trials"), output=path_of(output),
    )  # fmt: skip


def resume(
    search: str,
    *,
    trials: int | None = None,
    timeout: float | None = None,
    asked: Mapping[str, Any] | None = None,
    data_root: Path | str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    output: Path | str | None = None,
    callback: Callback | None = None,
) -> SearchResult:
    """Continue a search by name, with the configuration it was started with.

    Args:
        search: its name, as printed when it was interrupted.
        trials: to finish in all; by default as many as it was started for.
        timeout: seconds after which no further trial starts.
        asked: settings that must agree with the search's own.
        data_root: where real datasets lie.
        storage: Optuna storage.
        tracking_uri: MLflow store.
        output: folder for a copy of the winning set.
        callback: told what happens.

    Raises:
        SearchError: there is no such search, or it was started with other settings.

    Example:
        >>> import study
        >>> first = study.tune("dm", "digits", budget="smoke", name="mine", trials=1)
        >>> study.resume("mine", trials=2).trials_finished
        2
    """
    from study.runs.tune import tune as run

    stores = stores_of(tracking_uri, storage, data_root)
    config = search_config(search, asked=asked, storage=storage)
    check_output(output)
    return run(
        config, stores, callback, resume=search, timeout_seconds=timeout, num_trials=trials,
        output=path_of(output),
    )  # fmt: skip


def distill(
    method: str,
    dataset: str = "digits",
    *,
    name: str | None = None,
    data_root: Path | str | None = None,
    tracking_uri: str | None = None,
    output: Path | str | None = None,
    callback: Callback | None = None,
    **asked: Unpack[Requested],
) -> SearchResult:
    """Distil one set with a recipe's own values, without a search; track and register it.

    Arguments are those of :func:`tune`; ``name`` is the run's.

    Raises:
        StudyError: data, store or configuration is at fault, or the images diverged.

    Example:
        >>> import study
        >>> result = study.distill("dm", "digits", ipc=1, budget="smoke")
        >>> 0 < result.winner.test.mean < 1
        True
    """
    from study.runs.distill import distill as run

    config = configure(method, dataset, data_root=data_root, **asked)
    check_output(output)
    stores = stores_of(tracking_uri, None, data_root)
    return run(config, stores, callback, name=name, output=path_of(output))


def configure(
    method: str,
    dataset: str = "digits",
    *,
    data_root: Path | str | None = None,
    **asked: Unpack[Requested],
) -> RunConfig:
    """The frozen configuration that a request comes to; arguments are those of :func:`tune`.

    The data root is looked into for ``resolution="auto"`` alone.

    Raises:
        ConfigError: a name, key or value is wrong.

    Example:
        >>> import study
        >>> study.configure("dm", "digits", settings={"distill.image_lr": 0.5}).distill.image_lr
        0.5
    """
    from study.runs.config.configure import configure as run

    return run(request_of(method, dataset, asked, data_root))


def recipe(
    method: str,
    dataset: str = "digits",
    *,
    data_root: Path | str | None = None,
    **asked: Unpack[Requested],
) -> Composition:
    """The configuration that a request comes to, with what decided each value; arguments as for :func:`tune`.

    Raises:
        ConfigError: a name, key or value is wrong.

    Example:
        >>> import study
        >>> composed = study.recipe("dm", "digits", settings={"distill.image_lr": 0.5})
        >>> [one.origin for one in composed.settings if one.key == "distill.image_lr"]
        ['--set']
    """
    from study.runs.catalog.recipes import explain

    return explain(request_of(method, dataset, asked, data_root))


def search_config(
    search: str, *, asked: Mapping[str, Any] | None = None, storage: str | None = None
) -> RunConfig:
    """The configuration an existing search was started with; settings that are asked for must agree with it.

    Raises:
        SearchError: there is no such search, or it was started with other settings.

    Example:
        >>> import study
        >>> made = study.tune("dm", "digits", budget="smoke", name="kept", trials=1)
        >>> study.search_config("kept").method
        'dm'
    """
    from study.runs.context.saved import resume_config

    return resume_config(search, stores_of(None, storage), asked or {})


def plan(config: RunConfig, *, data_root: Path | str | None = None) -> Plan:
    """What a search of that configuration would do and cost; nothing is trained to the end or stored.

    Example:
        >>> import study
        >>> study.plan(study.configure("dm", "digits", budget="smoke")).num_trials
        2
    """
    from study.runs.plan import plan as run

    return run(config, stores_of(None, None, data_root))
