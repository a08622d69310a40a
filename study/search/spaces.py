"""Search spaces as data: one line a parameter, keyed by the dotted path of the setting it varies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from study.core.config import Frozen, build
from study.core.errors import ConfigError

__all__ = ["SPACES", "Choice", "Parameter", "Range", "Space", "describe", "parse_space", "read_space"]


class Range(Frozen):
    """Numbers from ``low`` to ``high``, both included."""

    kind: Literal["float", "int"] = "float"
    low: float
    high: float
    log: bool = False
    """Uniform in the logarithm; excludes ``step``."""
    step: float | None = Field(None, gt=0)
    """Grid spacing from ``low``."""

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must start above 0, not at {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self


class Choice(Frozen):
    """One of a few values without an order."""

    kind: Literal["choice"] = "choice"
    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)


Parameter = Range | Choice
Space = Mapping[str, Parameter]

_TRAJECTORY_IMAGE_LR = Range(low=1.0, high=1000.0, log=True)
_STUDENT: dict[str, Parameter] = {
    "distill.step_size": Range(low=0.005, high=0.1, log=True),
    "distill.step_size_lr": Range(low=1e-6, high=1e-3, log=True),
    "distill.num_student_steps": Range(kind="int", low=10, high=40, step=10),
    "distill.num_expert_epochs": Range(kind="int", low=1, high=3),
    "distill.max_start_epoch": Range(kind="int", low=2, high=14, step=4),
}
# The order of parameters decides which random numbers they get, so it is part of a search's seed.
_SOFT_TRAJECTORIES: dict[str, Parameter] = {
    "distill.image_lr": _TRAJECTORY_IMAGE_LR,
    "distill.label_lr": Range(low=0.1, high=20.0, log=True),
    **_STUDENT,
}

SPACES: dict[str, dict[str, Parameter]] = {
    "dm": {
        "distill.image_lr": Range(low=0.1, high=10.0, log=True),
        "distill.momentum": Range(low=0.0, high=0.9, step=0.1),
        "distill.init": Choice(choices=("real", "real+noise", "noise")),
    },
    "datadam": {
        # For a loss_scale of 100, as all recipes but the printed variants have it; only the product counts.
        "distill.image_lr": Range(low=0.01, high=10.0, log=True),
        "distill.output_weight": Range(low=1e-3, high=1.0, log=True),
        "distill.attention_power": Choice(choices=(1.0, 2.0, 4.0)),
        # One parameter a layer, equal in the middle; their mean is divided out.
        "distill.layer_weights.*": Range(low=0.1, high=10.0, log=True),
    },
    "dc": {
        "distill.image_lr": Range(low=0.01, high=1.0, log=True),
        "distill.model_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.init": Choice(choices=("noise", "real")),
    },
    "dsa": {
        "distill.image_lr": Range(low=0.01, high=1.0, log=True),
        "distill.model_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.init": Choice(choices=("real", "noise")),
    },
    "mtt": {"distill.image_lr": _TRAJECTORY_IMAGE_LR, **_STUDENT},
    "datm": _SOFT_TRAJECTORIES,
    "pad": {
        **_SOFT_TRAJECTORIES,
        "distill.discard_fraction": Range(low=0.0, high=0.75, step=0.25),
        # A coarse grid: every value needs experts of its own, which other trials can then share.
        "distill.schedule.initial_fraction": Range(low=0.5, high=1.0, step=0.25),
    },
    "dd": {
        "distill.step_size": Range(low=1e-3, high=0.1, log=True),
        "distill.image_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.step_size_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.num_distill_epochs": Range(kind="int", low=1, high=5),
    },
    "random": {},
    "herding": {},
    "k-center": {},
    "k-means": {},
    "forgetting": {},
}
"""What each method searches unless its recipe or the command line says otherwise."""


def read_space(values: Mapping[str, Any]) -> dict[str, Parameter]:
    """Read the ``[space]`` table of a recipe."""
    space: dict[str, Parameter] = {}
    for key, value in values.items():
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"space.{key} = {value!r}: expected a table such as {{low = 0.1, high = 10, log = true}}"
            )
        where = f"space.{key}"
        space[key] = build(Choice, value, where) if "choices" in value else build(Range, value, where)
    return space


def parse_space(words: Iterable[str]) -> dict[str, Parameter | None]:
    """Read ``--space`` words.

    ``distill.image_lr=0.1:10:log`` is a range (``:int`` and ``:step=5`` also), ``distill.init=real,noise``
    a choice, and ``distill.momentum=fixed`` takes a parameter out of the search.

    Returns:
        Parameters by dotted key; None where the parameter is to be removed.

    Raises:
        ConfigError: a word cannot be read.
    """
    space: dict[str, Parameter | None] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or not text:
            raise ConfigError(f"--space {word!r}: expected key=low:high[:log], key=a,b,c or key=fixed")
        space[key] = None if text == "fixed" else _parse_parameter(key, text)
    return space


def _parse_parameter(key: str, text: str) -> Parameter:
    if ":" not in text:
        return Choice(choices=tuple(_plain(word) for word in text.split(",")))
    low, high, *flags = text.split(":")
    values: dict[str, Any] = {"low": low, "high": high}
    for flag in flags:
        name, _, value = flag.partition("=")
        settings: dict[str, dict[str, Any]] = {
            "log": {"log": True},
            "int": {"kind": "int"},
            "step": {"step": value},
        }
        if name not in settings:
            raise ConfigError(f"--space {key}: unknown flag {flag!r}. Choices: log, int, step=N")
        values.update(settings[name])
    return build(Range, values, f"space.{key}")


def _plain(word: str) -> str | int | float | bool:
    if word in {"true", "false"}:
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def describe(parameter: Parameter) -> str:
    """One readable phrase for tables and plans."""
    if isinstance(parameter, Choice):
        return " | ".join(str(choice) for choice in parameter.choices)
    scale = ", log" if parameter.log else f", step {parameter.step:g}" if parameter.step else ""
    return f"{parameter.low:g} to {parameter.high:g}{scale}{', whole' if parameter.kind == 'int' else ''}"
