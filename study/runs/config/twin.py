"""The command that makes a set again with some settings changed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from study.core.config import flatten
from study.runs.config.configure import Request, RunConfig, configure


def twin_command(config: RunConfig, changes: Mapping[str, Any]) -> str:
    """The `study distill` that makes a set again with some settings changed.

    Args:
        config: of the set.
        changes: dotted keys with their new values.
    """
    request = Request(
        config.method, config.dataset, config.ipc, config.budget, config.seed, variant=config.variant
    )
    usual, wanted = (_settings(one) for one in (configure(request), config))
    settings = {key: value for key, value in {**wanted, **changes}.items() if usual.get(key) != value}
    words = ["study", "distill", "--method", config.method, "--dataset", config.dataset,
             "--ipc", str(config.ipc), "--budget", config.budget]  # fmt: skip
    words += ["--seed", str(config.seed)] if config.seed else []
    words += ["--variant", config.variant] if config.variant is not None else []
    for key, value in settings.items():
        words += ["--set", f"{key}={_text(value)}"]
    return shlex.join(words)


def _text(value: Any) -> str:
    """A value as --set reads it."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def _settings(config: RunConfig) -> dict[str, Any]:
    """What decides the images and their recipe, by dotted key."""
    plain = config.plain()
    return flatten({part: plain[part] for part in ("data", "model", "distill", "evaluation")})
