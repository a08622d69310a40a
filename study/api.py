"""The Python interface: everything the command line does, as typed functions.

Import it as ``study``: ``import study; study.tune("pad", "digits", ipc=1)``. Importing it loads neither torch nor
MLflow nor Optuna; a function loads what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from study.core.spaces import Parameter
    from study.runs.catalog.ui import View
    from study.runs.compare import SetComparison
    from study.runs.config.configure import RunConfig
    from study.runs.context.callbacks import Callback
    from study.runs.context.stores import StoreOptions
    from study.runs.evaluate import Evaluation
    from study.runs.plan import Plan
    from study.runs.registration.results import SearchResult
    from study.sets.files import StoredSet

Settings = Mapping[str, Any] | Sequence[str] | None
"""Overrides: dotted keys (``{"distill.image_lr": 0.5}``), nested tables, or ``key=value`` words."""
SearchSpace = Mapping[str, "str | Parameter | None"] | Sequence[str] | None
"""Changes of a search space: ``{"distill.image_lr": "0.1:10:log"}``, or ``key=range`` words."""


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
    _check_output(output)
    options = TuneOptions(
        _stores(tracking_uri, storage, data_root), name=name, timeout_seconds=timeout, num_trials=trials,
        output=_path(output),
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

    stores = _stores(tracking_uri, storage, data_root)
    config = search_config(search, asked=asked, storage=storage)
    _check_output(output)
    return run(config, TuneOptions(stores, None, search, timeout, trials, _path(output)), callback)


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
    _check_output(output)
    options = DistillOptions(_stores(tracking_uri, None, data_root), name, _path(output))
    return run(config, options, callback)


def evaluate(
    reference: str,
    *,
    protocol: str = "architectures",
    split: Literal["validation", "test"] = "validation",
    seeds: int = 5,
    seed: int | None = None,
    settings: Settings = None,
    pool: str | None = None,
    models: Sequence[str] = (),
    full_data: bool | None = None,
    against: str | None = None,
    data_root: Path | str | None = None,
    device: str = "auto",
    tracking_uri: str | None = None,
    callback: Callback | None = None,
) -> Evaluation:
    """Train fresh networks on a stored set and judge it by a protocol, beside random real images.

    Args:
        reference: registered name, run id or folder.
        protocol: the question; :func:`protocols` gives all.
        split: real images to classify; opening ``test`` is logged.
        seeds: fresh networks of every score.
        seed: root of their initialisations; by default the set's own.
        settings: laid over the set's own recipe.
        pool: architectures beside the set's own: ``none``, ``quick`` or ``full``.
        models: architectures as ``name`` or ``name:width``, in place of ``pool``.
        full_data: train on all real images where their score is not kept yet.
        against: a second set, for protocols that compare two.
        data_root: where real datasets lie.
        device: as for :func:`tune`.
        tracking_uri: MLflow store.
        callback: told of the stages.

    Raises:
        StudyError: set, data, protocol or an option is at fault.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> found = study.evaluate(made.winner.set, seeds=2, pool="none", full_data=False)
        >>> [row["model"] for row in found.rows]
        ['convnet']
    """
    from study.core.config import merge
    from study.protocols.base import EvaluateOptions
    from study.runs.evaluate import evaluate as run

    overrides = _nested(settings)
    if device != "auto":
        overrides = merge(overrides, {"compute": {"device": device}})
    options = EvaluateOptions(
        protocol, split, seeds, seed, overrides, pool, tuple(models), full_data, against
    )
    return run(reference, options, _stores(tracking_uri, None, data_root), callback)


def compare(
    first: str,
    second: str,
    *,
    split: Literal["validation", "test"] = "validation",
    seeds: int = 5,
    settings: Settings = None,
    data_root: Path | str | None = None,
    tracking_uri: str | None = None,
    callback: Callback | None = None,
) -> SetComparison:
    """Train on two sets with the same networks at the start and the same recipe, and test the difference.

    Args:
        first: registered name, run id or folder; its recipe is used for both.
        second: likewise, of the same real data.
        split: real images to classify.
        seeds: paired networks, at least 2.
        settings: laid over the recipe.
        data_root: where real datasets lie.
        tracking_uri: MLflow store.
        callback: told of the stages.

    Raises:
        StudyError: the sets cannot be compared.

    Example:
        >>> import study
        >>> one = study.distill("random", "digits", ipc=1, budget="smoke").winner.set
        >>> two = study.distill("random", "digits", ipc=1, budget="smoke", seed=1).winner.set
        >>> 0 < study.compare(one, two, seeds=2).p_value <= 1
        True
    """
    from study.protocols.base import EvaluateOptions
    from study.runs.compare import compare_sets

    options = EvaluateOptions(split=split, num_seeds=seeds, overrides=_nested(settings))
    return compare_sets(first, second, options, _stores(tracking_uri, None, data_root), callback)


def load(reference: str, *, tracking_uri: str | None = None) -> StoredSet:
    """Load a verified synthetic set by registered name, run id or folder.

    Args:
        reference: ``"digits-dm-ipc1"``, ``"digits-dm-ipc1@best"``, ``"digits-dm-ipc1/3"``, an MLflow
            run id, or the path of a set folder.
        tracking_uri: the MLflow store to ask; by default ``MLFLOW_TRACKING_URI`` or ``./mlruns``.

    Returns:
        A set with ``.images`` [n, C, H, W] float32 (normalised), ``.labels`` [n] int64 and
        ``.as_dataset()`` for a ``torch.utils.data.DataLoader``.

    Raises:
        UnknownSetError: nothing is registered under that reference.
        CorruptSetError: a file is missing or its bytes changed since it was written.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=2, budget="smoke")
        >>> len(study.load(made.winner.set).as_dataset())
        20
    """
    from study.runs.catalog.sets import load_set

    return load_set(reference, tracking_uri=tracking_uri)


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

    overrides = _nested(settings)
    asked: dict[tuple[str, str], Any] = {
        ("data", "resolution"): resolution,
        ("compute", "device"): None if device == "auto" else device,
        ("search", "num_trials"): trials,
        ("search", "objective"): objective,
    }
    for (section, key), value in asked.items():
        if value is not None:
            overrides = merge(overrides, {section: {key: value}})
    return run(Request(method, dataset, ipc, budget, seed, overrides, _space(space), recipe, variant))


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

    return resume_config(search, _stores(None, storage, None), asked or {})


def plan(config: RunConfig, *, data_root: Path | str | None = None) -> Plan:
    """What a search of that configuration would do and cost; nothing is trained to the end or stored.

    Example:
        >>> import study
        >>> study.plan(study.configure("dm", "digits", budget="smoke")).num_trials
        2
    """
    from study.runs.plan import plan as run

    return run(config, _stores(None, None, data_root))


def methods() -> dict[str, str]:
    """What each method does, in a line, by the name that ``--method`` takes.

    Example:
        >>> import study
        >>> "pad" in study.methods()
        True
    """
    from study.methods.base import load_methods

    return {name: _first_line(method) for name, method in sorted(load_methods().items())}


def protocols() -> dict[str, str]:
    """What each protocol asks of a set, by the name that ``--protocol`` takes.

    Example:
        >>> import study
        >>> sorted(study.protocols())[:2]
        ['architectures', 'continual']
    """
    from study.protocols.base import PROTOCOLS

    return {name: protocol.about for name, protocol in PROTOCOLS.items()}


def datasets(data_root: Path | str | None = None) -> list[dict[str, Any]]:
    """Every real dataset with its properties, and whether its files are in the data root.

    Example:
        >>> import study
        >>> [row["present"] for row in study.datasets() if row["name"] == "digits"]
        [True]
    """
    from study.runs.catalog.datasets import list_datasets

    return list_datasets(_path(data_root))


def sets(name: str | None = None, *, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """Every registered version of every set (or of one name), newest first.

    Example:
        >>> import study
        >>> isinstance(study.sets("nothing-of-this-name"), list)
        True
    """
    from study.runs.catalog.sets import list_sets

    return list_sets(name, tracking_uri)


def list_runs(
    references: Sequence[str] = (),
    *,
    experiment: str | None = None,
    trials: bool = False,
    tracking_uri: str | None = None,
) -> list[dict[str, Any]]:
    """Tracked runs side by side, best validation score first.

    Args:
        references: searches, run ids or sets; by default every search and distillation.
        experiment: only of this one, such as ``digits-ipc1``.
        trials: the trials of each search instead of its own row.
        tracking_uri: MLflow store.

    Raises:
        UnknownSetError: a reference is none of these.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke", name="baseline")
        >>> "baseline" in [row["run"] for row in study.list_runs()]
        True
    """
    from study.runs.catalog.runs import compare_runs

    return compare_runs(references, _stores(tracking_uri, None, None), experiment=experiment, trials=trials)


def download(
    reference: str, output: Path | str | None = None, *, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Copy a set into a new folder, by default of its name, after checking every byte of it.

    Raises:
        UnknownSetError: there is no such set.
        CorruptSetError: it is incomplete or altered; nothing is left behind.
        ConfigError: ``output`` exists and is not empty, or cannot be written.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.download(made.winner.set, "my-digits")["folder"]
        'my-digits'
    """
    from study.runs.catalog.sets import download_set

    return download_set(reference, _path(output), tracking_uri)


def show(reference: str, *, tracking_uri: str | None = None) -> dict[str, Any]:
    """Manifest, card and registration of a set, after checking every byte of it.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.show(made.winner.set)["manifest"]["ipc"]
        1
    """
    from study.runs.catalog.sets import show_set

    return show_set(reference, tracking_uri)


def verify(references: Sequence[str] = (), *, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """Check every byte of some sets, by default of every registered version; one verdict each.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke")
        >>> study.verify([made.winner.set])[0]["whole"]
        True
    """
    from study.runs.catalog.sets import verify_sets

    return verify_sets(list(references), tracking_uri)


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


def _stores(tracking_uri: str | None, storage: str | None, data_root: Path | str | None) -> StoreOptions:
    from study.runs.context.stores import StoreOptions

    return StoreOptions(tracking_uri=tracking_uri, storage=storage, data_root=_path(data_root))


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _check_output(output: Path | str | None) -> None:
    """Refuse an output folder that holds something, before hours are spent."""
    from study.core.errors import ConfigError

    folder = _path(output)
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--output {output} exists and is not empty; choose a new folder")


def _nested(settings: Settings) -> dict[str, Any]:
    from study.core.config import merge, parse_overrides, set_path

    if settings is None or not isinstance(settings, Mapping):
        return parse_overrides(settings or ())
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        tree = merge(tree, set_path({}, key, value))
    return tree


def _space(space: SearchSpace) -> dict[str, Parameter | None]:
    from study.core.spaces import parse_space

    if space is None or not isinstance(space, Mapping):
        return parse_space(space or ())
    words = [f"{key}={text}" for key, text in space.items() if isinstance(text, str)]
    return {**{key: one for key, one in space.items() if not isinstance(one, str)}, **parse_space(words)}


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]
