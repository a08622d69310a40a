"""Searches and single distillations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.api.arguments import SearchSpace, Settings, check_output, nested, path_of, space_of, stores_of

if TYPE_CHECKING:
    from study.runs.config.configure import RunConfig
    from study.runs.context.callbacks import Callback
    from study.runs.plan import Plan
    from study.runs.registration.results import SearchResult


def tune(
    method: str,
    dataset: str = "digits",
    *,
    ipc: int = 1,
    budget: str = "quick",
    trials: int | None = None,
    timeout: float | None = None,
    seed: int = 0,
    name: str | None = None,
    objective: str | None = None,
    settings: Settings = None,
    space: SearchSpace = None,
    recipe: Path | None = None,
    variant: str | None = None,
    data_root: Path | str | None = None,
    resolution: int | None = None,
    device: str = "auto",
    storage: str | None = None,
    tracking_uri: str | None = None,
    output: Path | str | None = None,
    callback: Callback | None = None,
) -> SearchResult:
    """Search the hyperparameters of a method on validation, track every trial, register the best set.

    Args:
        method: such as ``"pad"``; :func:`methods` gives all.
        dataset: such as ``"digits"``; :func:`datasets` gives all.
        ipc: synthetic images a class.
        budget: ``smoke``, ``quick``, ``course`` or ``paper``: counts and sizes.
        trials: to finish; by default the budget's.
        timeout: seconds after which no further trial starts.
        seed: root of every random number.
        name: of the search; by default the set's name and a number.
        objective: ``accuracy``, ``cross-arch`` or ``accuracy,cross-arch``.
        settings: laid over recipe and budget.
        space: changes of the search space.
        recipe: a TOML file in place of the shipped one.
        variant: named variant of the recipe.
        data_root: where real datasets lie.
        resolution: pixels a side that real images are resized to.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        storage: Optuna storage; by default ``mlruns/optuna.db``.
        tracking_uri: MLflow store; by default ``./mlruns``.
        output: folder for a copy of the winning set.
        callback: told what happens.

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
    from study.runs.tune import TuneOptions
    from study.runs.tune import tune as run

    config = configure(
        method, dataset, ipc=ipc, budget=budget, trials=trials, seed=seed, objective=objective, settings=settings,
        space=space, recipe=recipe, variant=variant, resolution=resolution, device=device,
    )  # fmt: skip
    check_output(output)
    options = TuneOptions(
        stores_of(tracking_uri, storage, data_root), name=name, timeout_seconds=timeout, num_trials=trials,
        output=path_of(output),
    )  # fmt: skip
    return run(config, options, callback)


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
        >>> first = study.tune("random", "digits", budget="smoke", name="mine", trials=1,
        ...                    space={"distill.init": "real"})
        >>> study.resume("mine", trials=2).trials_finished
        2
    """
    from study.runs.tune import TuneOptions
    from study.runs.tune import tune as run

    stores = stores_of(tracking_uri, storage, data_root)
    config = search_config(search, asked=asked, storage=storage)
    check_output(output)
    return run(config, TuneOptions(stores, None, search, timeout, trials, path_of(output)), callback)


def distill(
    method: str,
    dataset: str = "digits",
    *,
    ipc: int = 1,
    budget: str = "quick",
    seed: int = 0,
    name: str | None = None,
    settings: Settings = None,
    recipe: Path | None = None,
    variant: str | None = None,
    data_root: Path | str | None = None,
    resolution: int | None = None,
    device: str = "auto",
    tracking_uri: str | None = None,
    output: Path | str | None = None,
    callback: Callback | None = None,
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
    from study.runs.distill import DistillOptions
    from study.runs.distill import distill as run

    config = configure(
        method, dataset, ipc=ipc, budget=budget, seed=seed, settings=settings, recipe=recipe, variant=variant,
        resolution=resolution, device=device,
    )  # fmt: skip
    check_output(output)
    options = DistillOptions(stores_of(tracking_uri, None, data_root), name, path_of(output))
    return run(config, options, callback)


def configure(
    method: str,
    dataset: str = "digits",
    *,
    ipc: int = 1,
    budget: str = "quick",
    trials: int | None = None,
    seed: int = 0,
    objective: str | None = None,
    settings: Settings = None,
    space: SearchSpace = None,
    recipe: Path | None = None,
    variant: str | None = None,
    resolution: int | None = None,
    device: str = "auto",
) -> RunConfig:
    """The frozen configuration that a request comes to; a dedicated argument wins over ``settings``.

    Arguments are those of :func:`tune`.

    Raises:
        ConfigError: a name, key or value is wrong.

    Example:
        >>> import study
        >>> study.configure("dm", "digits", settings={"distill.image_lr": 0.5}).distill.image_lr
        0.5
    """
    from study.core.config import merge
    from study.runs.config.configure import Request
    from study.runs.config.configure import configure as run

    overrides = nested(settings)
    asked: dict[tuple[str, str], Any] = {
        ("data", "resolution"): resolution,
        ("compute", "device"): None if device == "auto" else device,
        ("search", "num_trials"): trials,
        ("search", "objective"): objective,
    }
    for (section, key), value in asked.items():
        if value is not None:
            overrides = merge(overrides, {section: {key: value}})
    return run(Request(method, dataset, ipc, budget, seed, overrides, space_of(space), recipe, variant))


def search_config(
    search: str, *, asked: Mapping[str, Any] | None = None, storage: str | None = None
) -> RunConfig:
    """The configuration an existing search was started with.

    Args:
        search: its name.
        asked: settings that must agree with it.
        storage: Optuna storage.

    Raises:
        SearchError: there is no such search, or it was started with other settings.

    Example:
        >>> import study
        >>> made = study.tune("dm", "digits", budget="smoke", name="kept", trials=1)
        >>> study.search_config("kept").method
        'dm'
    """
    from study.runs.resume import resume_config

    return resume_config(search, stores_of(None, storage, None), asked or {})


def plan(config: RunConfig, *, data_root: Path | str | None = None) -> Plan:
    """What a search of that configuration would do and cost; nothing is trained to the end or stored.

    Example:
        >>> import study
        >>> study.plan(study.configure("dm", "digits", budget="smoke")).num_trials
        2
    """
    from study.runs.plan import plan as run

    return run(config, stores_of(None, None, data_root))
