"""What a stored set is worth, and runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from study.api.arguments import Settings, nested, stores_of

if TYPE_CHECKING:
    from study.runs.compare import SetComparison
    from study.runs.context.callbacks import Callback
    from study.runs.evaluate import Evaluation
    from study.runs.report.page import Format, Report


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

    overrides = nested(settings)
    if device != "auto":
        overrides = merge(overrides, {"compute": {"device": device}})
    options = EvaluateOptions(
        protocol, split, seeds, seed, overrides, pool, tuple(models), full_data, against
    )
    return run(reference, options, stores_of(tracking_uri, None, data_root), callback)


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

    options = EvaluateOptions(split=split, num_seeds=seeds, overrides=nested(settings))
    return compare_sets(first, second, options, stores_of(tracking_uri, None, data_root), callback)


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

    return compare_runs(references, stores_of(tracking_uri, None, None), experiment=experiment, trials=trials)


def report(
    references: Sequence[str] = (),
    *,
    experiment: str | None = None,
    format: Format = "html",
    storage: str | None = None,
    tracking_uri: str | None = None,
) -> Report:
    """One self-contained page, or a table as Markdown or LaTeX, over searches and distillations.

    Args:
        references: searches, run ids or sets; by default every search and distillation.
        experiment: only of this one, such as ``digits-ipc1``.
        format: ``html``, ``markdown`` or ``latex``.
        storage: Optuna storage with the trials; by default the one beside the tracking store.
        tracking_uri: MLflow store.

    Raises:
        UnknownSetError: a reference is none of these.
        UnknownNameError: there is no such experiment.
        ConfigError: there is no run yet.

    Example:
        >>> import study
        >>> made = study.distill("random", "digits", ipc=1, budget="smoke", name="baseline")
        >>> "baseline" in study.report(format="latex").text
        True
    """
    from study.runs.report.page import make_report

    return make_report(references, stores_of(tracking_uri, storage), experiment=experiment, format=format)


def reproduce(
    reference: str,
    *,
    data_root: Path | str | None = None,
    tracking_uri: str | None = None,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Distil a set again from its recorded configuration and compare the bytes; nothing is tracked or registered.

    Args:
        reference: run id, search, registered set or folder; of a search, the set that it registered.
        data_root: where real datasets lie.
        tracking_uri: MLflow store.
        callback: told of the stages and iterations.

    Returns:
        Whether the SHA-256 of ``data.safetensors`` is the ``same``, both digests, the data ``fingerprint``, and
        ``differences``: what was recorded of code, machine and configuration, and what is here, by name.

    Raises:
        UnknownSetError: there is no such run, search or set, or the run left no set.
        CorruptSetError: the recorded set is incomplete or altered.
        DataError: the real images here are others than those it was made from.

    Example:
        >>> import study
        >>> made = study.distill("dm", "digits", ipc=1, budget="smoke")
        >>> study.reproduce(made.winner.set)["same"]
        True
    """
    from study.runs.reproduce import reproduce as run

    return run(reference, stores_of(tracking_uri, None, data_root), callback)
