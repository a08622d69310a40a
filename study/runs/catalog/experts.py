"""The cache of expert trajectories: what is in it, building ahead of a search, making room."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from study.core.errors import ConfigError
from study.core.reporting import listening
from study.core.seeding import Generators
from study.methods.base import METHODS, Method, Task, find_method
from study.methods.experts.store import EntryInfo, ExpertStore, size_limit
from study.runs.config.configure import RunConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import open_context

SECONDS_PER_DAY = 24 * 3600


def list_experts() -> dict[str, Any]:
    """Every entry of the cache, last used first, and what all of them take."""
    entries = ExpertStore().entries()
    return {
        "entries": [_plain(info) for info in entries],
        "bytes": sum(info.size for info in entries),
        "limit_bytes": size_limit(),
        "folder": str(ExpertStore().root),
    }


def prune_experts(
    *, max_gb: float | None = None, older_than_days: float | None = None, everything: bool = False
) -> dict[str, Any]:
    """Remove entries that no process is using; without a wish, until the rest fits ``STUDY_CACHE_GB``."""
    max_bytes = None if max_gb is None else int(max_gb * 1e9)
    if max_gb is None and older_than_days is None and not everything:
        max_bytes = size_limit()
    unused_seconds = None if older_than_days is None else older_than_days * SECONDS_PER_DAY
    removed = ExpertStore().prune(max_bytes=max_bytes, unused_seconds=unused_seconds, everything=everything)
    return {
        "removed": [_plain(info) for info in removed],
        "bytes": sum(info.size for info in removed),
        "kept": list_experts(),
    }


def plan_build(config: RunConfig, data_root: Path | None) -> dict[str, Any]:
    """What :func:`build_experts` would train and how long that may take, from counting alone."""
    method, task, generators = _expert_method(config, data_root)
    estimate = method.estimate(task, generators)
    return {**estimate.facts, "bytes": estimate.num_bytes, "estimated_seconds": estimate.seconds}


def build_experts(
    config: RunConfig, data_root: Path | None, callback: Callback | None = None
) -> dict[str, Any]:
    """Train the experts that a run of this configuration looks up, as far as the cache lacks them.

    Raises:
        ConfigError: the method uses no experts.
        StudyError: data, cache or configuration is at fault, or the experts diverged.
    """
    with listening((callback or Callback()).on_work):
        method, task, generators = _expert_method(config, data_root)
        return dict(method.prepare(task, generators).facts)


def _expert_method(config: RunConfig, data_root: Path | None) -> tuple[Method[Any], Task, Generators]:
    using = [name for name, known in METHODS.items() if "experts" in known.preparation_settings]
    if config.method not in using:
        names = ", ".join(sorted(using))
        raise ConfigError(f"method {config.method!r} uses no experts. Those that do: {names}")
    context = open_context(config, data_root)
    method = find_method(config.method)(context.config.distill, config.space)
    return method, context.task(context.config), context.distill_generators()


def _plain(info: EntryInfo) -> dict[str, Any]:
    """An entry as shown: what it was trained on, how, and what it takes."""
    key: Mapping[str, Any] = info.meta.get("key", {})
    stored = info.meta.get("experts", {}).values()
    accuracies = [one["train_accuracy"] for one in stored]
    return {
        "key": info.key,
        "image_shape": info.meta.get("image_shape"),
        "images": info.meta.get("num_images"),
        "classes": len(info.meta.get("class_names", [])),
        "model": key.get("model"),
        "training": key.get("experts"),
        "precision": key.get("precision"),
        "order": key.get("order"),
        "epochs": info.meta.get("num_epochs"),
        "kept_epochs": min((one["kept_epochs"] for one in stored if "kept_epochs" in one), default=None),
        "experts": info.num_experts,
        "train_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
        "bytes": info.size,
        "last_used": datetime.fromtimestamp(info.last_used, UTC).isoformat(timespec="seconds"),
        "in_use": info.in_use,
    }
