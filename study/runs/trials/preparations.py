"""How many preparations, such as sets of experts, a search may ask for, and whether there is room for them."""

from __future__ import annotations

from study.core.spaces import Choice
from study.methods.base import find_method
from study.methods.experts.room import find_shortage
from study.runs.config.configure import RunConfig
from study.runs.context.run_context import RunContext


def num_preparations(config: RunConfig) -> int:
    """How many the space has: one for each combination of values that decide it."""
    number = 1
    settings = find_method(config.method).preparation_settings
    for key, parameter in config.space.items():
        if not key.startswith(tuple(f"distill.{name}." for name in settings)):
            continue
        if isinstance(parameter, Choice):
            number *= len(parameter.choices)
        elif parameter.step:
            number *= 1 + int((parameter.high - parameter.low) / parameter.step + 1e-9)
        else:
            number *= config.search.num_trials
    return number


def cache_shortage(config: RunConfig, context: RunContext) -> str | None:
    """What is too small for all of them, in one line; None where there is room.

    Raises DataError where the disk does not take a single one.
    """
    method = find_method(config.method)(config.distill, config.space)
    number = min(config.search.num_trials, num_preparations(config))
    return find_shortage(number, method.prepared_bytes(context.task(config)))
