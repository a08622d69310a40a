"""The command that makes a tracked search or distillation again, from what its run recorded."""

from __future__ import annotations

import ast
import shlex
from typing import Any

from study.core.config import flatten, set_path
from study.core.errors import StudyError
from study.core.spaces import Choice, Parameter
from study.runs.config.configure import HEAD, Request, RunConfig, configure, restore
from study.runs.context.saved import override_text
from study.tracking.base import RunInfo

CHOSEN = "work.chosen."
PARTS = ("data", "model", "distill", "evaluation", "search", "compute", "work")
OWN_OPTIONS = {
    "search.num_trials": "--trials",
    "search.objective": "--objective",
    "data.resolution": "--resolution",
}


def reproduce_command(run: RunInfo) -> str:
    """The ``study tune`` or ``study distill`` that makes a run again with the code of its commit.

    What the budget chose from counted work is left out: it is chosen again, the same.

    Raises:
        StudyError: the run did not record what it takes, or this version does not know a setting of it.
    """
    config = recorded_config(run)
    usual = configure(Request(**{key: getattr(config, key) for key in HEAD}))
    is_search = run.tags.get("study.kind") == "search"
    words = ["study", "tune" if is_search else "distill", "--method", config.method, "--dataset", config.dataset,
             "--ipc", str(config.ipc), "--budget", config.budget, "--seed", str(config.seed)]  # fmt: skip
    words += ["--variant", config.variant] if config.variant is not None else []
    chosen = {name.removeprefix(CHOSEN) for name in run.params if name.startswith(CHOSEN)} - {
        "data.resolution"
    }
    before, after = _settings(usual), _settings(config)
    for key, value in after.items():
        if before.get(key) == value or key in chosen or key.startswith(("work.open", CHOSEN)):
            continue
        if key.startswith("search.") and not is_search:
            continue
        option = OWN_OPTIONS.get(key) if is_search or key.startswith("data.") else None
        words += (
            [option, str(value)]
            if option and value is not None
            else ["--set", f"{key}={override_text(value)}"]
        )
    if is_search:
        words += [
            word for key in {**usual.space, **config.space} for word in _space_words(key, usual, config)
        ]
    return shlex.join(words)


def recorded_config(run: RunInfo) -> RunConfig:
    """The configuration whose parameters a run recorded, one by one as text.

    Raises:
        StudyError: they do not make the configuration whose digest the run carries.
    """
    tree: dict[str, Any] = {}
    space: dict[str, Any] = {}
    for name, text in run.params.items():
        if name.startswith("space."):
            space[name.removeprefix("space.")] = _value(text)
        elif name in HEAD:
            tree[name] = int(text) if name in {"ipc", "seed"} else text
        elif name.split(".")[0] in PARTS and not name.startswith(("work.open", CHOSEN)):
            tree = set_path(tree, name, _value(text))
    missing = {"method", "dataset", "ipc", "budget"} - tree.keys()
    if missing:
        raise StudyError(f"run {run.name} recorded no {', '.join(sorted(missing))}")
    config = restore({**tree, "space": space})
    if run.tags.get("study.digest") != config.digest:
        raise StudyError(f"run {run.name} was made by a version with other settings than this one")
    return config


def _settings(config: RunConfig) -> dict[str, Any]:
    plain = config.plain()
    return flatten({part: plain[part] for part in PARTS})


def _space_words(key: str, usual: RunConfig, config: RunConfig) -> list[str]:
    if key not in config.space:
        return ["--space", f"{key}=fixed"]
    wanted = config.space[key]
    return [] if usual.space.get(key) == wanted else ["--space", f"{key}={_range_text(wanted)}"]


def _range_text(parameter: Parameter) -> str:
    """A parameter as ``--space`` reads it."""
    if isinstance(parameter, Choice):
        return ",".join(
            str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in parameter.choices
        )
    low, high = (
        f"{bound:g}" if parameter.kind == "int" else repr(bound) for bound in (parameter.low, parameter.high)
    )
    words = [low, high, *(["int"] if parameter.kind == "int" else []), *(["log"] if parameter.log else [])]
    return ":".join([*words, f"step={parameter.step:g}"] if parameter.step is not None else words)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
