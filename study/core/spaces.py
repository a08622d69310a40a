"""Search spaces as data: parameters keyed by the dotted path of the setting they vary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from study.core.config import Frozen, build
from study.core.errors import ConfigError


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

    @property
    def extremes(self) -> tuple[float, ...]:
        """Both ends."""
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def contains(self, value: Any) -> bool:
        """Whether a search could try this value: between the ends, and on the grid where there is one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        step = self.step or (1 if self.kind == "int" else None)
        steps = 0.0 if step is None else (value - self.low) / step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8


class Choice(Frozen):
    """One of a few values without an order."""

    kind: Literal["choice"] = "choice"
    choices: tuple[str | int | float | bool, ...] = Field(min_length=1)

    @property
    def extremes(self) -> tuple[str | int | float | bool, ...]:
        """Without an order, all of them."""
        return self.choices

    def contains(self, value: Any) -> bool:
        """Whether it is one of them."""
        return value in self.choices


Parameter = Range | Choice
HOW = (
    "write name=low:high for numbers between two ends (:log, :int or :step=N may follow), name=a,b,c for a choice, "
    "or name=fixed to leave it out, such as distill.image_lr=0.1:10:log"
)
"""What a search range is, for whoever wrote another one."""
Space = Mapping[str, Parameter]


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
            raise ConfigError(f"--space {word!r}: {HOW}")
        space[key] = None if text == "fixed" else _parse_parameter(key, text)
    return space


def _parse_parameter(key: str, text: str) -> Parameter:
    if ":" not in text:
        return Choice(choices=tuple(_plain(word) for word in text.split(",")))
    low, high, *flags = text.split(":")
    for name, end in (("low", low), ("high", high)):
        if not _is_number(end):
            raise ConfigError(f"--space {key}={text}: {name} is {end!r}, which is no number; {HOW}")
    if float(low) > float(high):
        raise ConfigError(f"--space {key}={text}: low {low} is above high {high}; {HOW}")
    values: dict[str, Any] = {"low": low, "high": high}
    for flag in flags:
        name, _, value = flag.partition("=")
        known = {"log": ("log", True), "int": ("kind", "int"), "step": ("step", value)}
        if name not in known:
            raise ConfigError(
                f"--space {key}={text}: unknown flag {flag!r}. Choices: log, int, step=N; {HOW}"
            )
        values.update([known[name]])
    return build(Range, values, f"space.{key}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


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
