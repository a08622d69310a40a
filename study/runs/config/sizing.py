"""The one rule by which sizes follow from the data: image size, classes and images a class, for every method.

A budget states seconds of counted work (:class:`~study.runs.config.work.WorkConfig`). What neither a recipe nor the
user states follows from them, in this order:

1. ``model.width``: the widest of :data:`WIDTHS` whose score, of :data:`SCORE_STEPS` steps, costs no more than one may,
   with which a trial has room for its least number of iterations, and preparation for the shortest epochs;
2. ``evaluation.num_steps``: as many as one score has room for, of those two numbers;
3. ``distill.batch_real``, ``distill.batch_synthetic``: the largest batch, at most the method's own, with which a trial
   has room for :data:`WANTED_ITERATIONS`;
4. ``distill.num_iterations``: as many as a trial has room for, between least and most;
5. ``distill.experts.epoch_fraction``: the share of every epoch that preparation has room for;
6. ``search.num_trials``: fewer where the least number of iterations takes longer than a trial may;
7. ``search.num_random_seeds``: the most of :data:`RANDOM_DRAWS` that baselines have room for, whatever the method;
8. seeds, rungs and finalists: the first row of :data:`LADDER` that all scores together have room for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from study.core.config import flatten
from study.models.work import Load, nominal_seconds
from study.runs.config.configure import RunConfig
from study.runs.config.counting import (
    NUM_BASELINES,
    DataSize,
    iteration_seconds,
    num_baseline_networks,
    num_scored_networks,
    preparation_loads,
    score_loads,
)

WIDTHS = (128, 64, 32, 16)
SCORE_STEPS = (100, 200)
"""Of an evaluation network, at least and at most."""
BATCHES: Mapping[str, tuple[int | None, ...]] = {
    "distill.batch_real": (256, 128, 64, 32),
    "distill.batch_synthetic": (None, 100, 50, 20),
}
"""Real images a class, and synthetic ones of a student's step where these are all by default (None)."""
SHARE = "distill.experts.epoch_fraction"
OF_STUDENT = "distill.batch_synthetic"
WANTED_ITERATIONS = {"distill.batch_real": 150, "distill.batch_synthetic": 60}
LEAST_BATCHES = 4
"""Batches of an expert's epoch, even where preparation has no room for them."""
LEAST_TRIALS = 2
RANDOM_DRAWS = (20, 10, 5, 3)
"""Of random real images, which deviate far more than distilled ones; scored once and kept in the cache."""
LADDER: tuple[Mapping[str, Any], ...] = (
    {"rungs": (0.25, 0.5), "num_rung_seeds": 1, "num_trial_seeds": 2, "num_finalists": 2,
     "num_finalist_seeds": 5},
    {"rungs": (0.5,), "num_rung_seeds": 1, "num_trial_seeds": 2, "num_finalists": 2,
     "num_finalist_seeds": 3},
    {"rungs": (0.5,), "num_rung_seeds": 1, "num_trial_seeds": 1, "num_finalists": 1,
     "num_finalist_seeds": 3},
)  # fmt: skip


def fit(config: RunConfig, data: DataSize) -> RunConfig:
    """A configuration with everything chosen that was left to the budget; others come back as they are."""
    if not config.work.open:
        return config
    return _Fit(config, data).run()


class _Fit:
    """The configuration so far, and the reasons."""

    def __init__(self, config: RunConfig, data: DataSize) -> None:
        self.config, self.data, self.work = config, data, config.work
        known = flatten(config.plain())
        self.open = {key for key in config.work.open if key in known}
        if known.get(OF_STUDENT) is not None:
            self.open.discard(OF_STUDENT)  # the batch of something else
        self.reasons: dict[str, str] = dict(self.work.chosen)

    def run(self) -> RunConfig:
        self._choose_width()
        self._choose_steps()
        self._choose_batches()
        self._choose_iterations()
        self._choose_share_of_epochs()
        self._choose_trials()
        self._choose_draws()
        self._choose_seeds()
        work = self.work.model_copy(update={"open": (), "chosen": self.reasons})
        return self.config.model_copy(update={"work": work})

    def _set(self, key: str, value: Any, reason: str) -> None:
        self.config = self.config.with_params({key: value})
        self.reasons[key] = f"{_word(value)}: {reason}"

    def _first(self, key: str, values: Iterable[Any], fits: Callable[[RunConfig], bool]) -> tuple[Any, bool]:
        """The first value with which the configuration fits, or the last, and whether it does."""
        value = None
        for value in values:
            if fits(self.config.with_params({key: value})):
                return value, True
        return value, False

    def _iteration(self, config: RunConfig) -> float:
        return iteration_seconds(config, self.data)

    def _least_share(self, config: RunConfig) -> float:
        batch = flatten(config.plain())["distill.experts.batch_size"]
        return min(1.0, LEAST_BATCHES * int(batch) / sum(self.data.class_counts))

    def _score(self, config: RunConfig) -> float:
        return nominal_seconds(score_loads(config, self.data))

    def _with_least(self, config: RunConfig) -> RunConfig:
        """With everything that is still open as small as it may become."""
        small: dict[str, Any] = {key: sizes[-1] for key, sizes in BATCHES.items()}
        small["evaluation.num_steps"] = SCORE_STEPS[-1]
        if SHARE in self.open:
            small[SHARE] = self._least_share(config)
        return config.with_params({key: value for key, value in small.items() if key in self.open})

    def _choose_width(self) -> None:
        limit, room = self.work.score_seconds, self.work.trial_seconds
        if "model.width" not in self.open or limit is None or self.config.model.name != "convnet":
            return

        preparation = self.work.preparation_seconds

        def fits(config: RunConfig) -> bool:
            least = self._with_least(config)
            trial = self._iteration(least) * self.work.num_iterations_least
            prepared = preparation is None or (
                nominal_seconds(preparation_loads(least, self.data)) <= preparation
            )
            return self._score(least) <= limit and (room is None or trial <= room) and prepared

        width, found = self._first("model.width", WIDTHS, fits)
        rule = f"a network is trained and scored in {limit:g} s"
        if preparation is not None:
            rule += f", prepared for in {preparation:g} s"
        if room is not None:
            rule += f", and a trial has {self.work.num_iterations_least} iterations in {room:g} s"
        self._set(
            "model.width", width,
            f"the widest with which {rule}" if found else f"the narrowest; no width is such that {rule}",
        )  # fmt: skip

    def _choose_steps(self) -> None:
        limit = self.work.score_seconds
        if "evaluation.num_steps" not in self.open or limit is None:
            return
        least, most = SCORE_STEPS
        one, two = (
            self._score(self.config.with_params({"evaluation.num_steps": steps})) for steps in (least, most)
        )
        fitting = least + (limit - one) / (two - one) * (most - least)
        steps = min(most, max(least, 10 * math.floor(fitting / 10)))
        self._set("evaluation.num_steps", steps, f"of {least} to {most}, what {limit:g} s a score allow")

    def _choose_batches(self) -> None:
        room = self.work.trial_seconds
        for key, sizes in BATCHES.items():
            if key in self.open and room is not None:
                self._choose_batch(key, sizes, room)

    def _choose_batch(self, key: str, sizes: tuple[int | None, ...], room: float) -> None:
        wanted = min(WANTED_ITERATIONS[key], self.work.num_iterations_most)
        most = flatten(self.config.plain())[key] or self.data.of_task(self.config).num_synthetic
        some = [size for size in sizes if size is None or size <= most]
        size, found = self._first(key, some, lambda config: self._iteration(config) * wanted <= room)
        rule = f"with which {wanted} iterations take {room:g} s"
        self._set(key, size, f"the largest {rule}" if found else f"the smallest; there is none {rule}")

    def _choose_iterations(self) -> None:
        room, key = self.work.trial_seconds, "distill.num_iterations"
        one = self._iteration(self.config)
        if key not in self.open or room is None or not one:
            return
        least, most = self.work.num_iterations_least, self.work.num_iterations_most
        fitting = 10 * math.floor(room / one / 10)
        number = min(most, max(least, fitting))
        self._set(
            key, number, f"of {least} to {most}, what {room:g} s a trial allow at {1e3 * one:.3g} ms each"
        )

    def _choose_share_of_epochs(self) -> None:
        room, key = self.work.preparation_seconds, SHARE
        if key not in self.open or room is None:
            return
        whole = self.config.with_params({key: 1.0})
        loads = dict(preparation_loads(whole, self.data))
        experts = nominal_seconds({"experts": loads.pop("experts", Load())})
        rest = nominal_seconds(loads)
        least = self._least_share(whole)
        share = min(1.0, max(least, (room - rest) / experts))
        # Two digits are as exact as the count.
        self._set(
            key,
            float(f"{share:.2g}"),
            f"what {room:g} s of preparation allow, whole epochs taking {experts:.0f} s",
        )

    def _choose_trials(self) -> None:
        room, key = self.work.trial_seconds, "search.num_trials"
        if key not in self.open or room is None:
            return
        asked = self.config.search.num_trials
        cost = self._iteration(self.config) * self.config.distill.num_iterations
        number = asked if cost <= room else max(min(LEAST_TRIALS, asked), int(asked * room / cost))
        if number < asked:
            self._set(key, number, f"fewer than {asked}, since one takes {cost:.0f} s and not {room:g} s")

    def _choose_draws(self) -> None:
        room, key = self.work.baseline_seconds, "search.num_random_seeds"
        if key not in self.open or room is None:
            return
        score = self._score(self.config)
        one = NUM_BASELINES * score
        number, found = self._first(
            key, RANDOM_DRAWS, lambda config: one * config.search.num_random_seeds <= room
        )
        rule = f"that take {room:g} s on validation and test, at {score:.2g} s a network"
        self._set(key, number, f"the most draws {rule}" if found else f"the fewest; there are none {rule}")

    def _choose_seeds(self) -> None:
        room = self.work.evaluation_seconds
        keys = [key for key in LADDER[0] if f"search.{key}" in self.open]
        if room is None or not keys:
            return
        score = self._score(self.config)

        def networks(row: Mapping[str, Any]) -> int:
            search = self.config.with_params({f"search.{key}": row[key] for key in keys}).search
            return num_scored_networks(search) - num_baseline_networks(search)

        rows = [row for row in LADDER if networks(row) * score <= room]
        row = rows[0] if rows else LADDER[-1]
        number = networks(row)
        reason = f"{number} networks at {score:.2g} s" + (
            f" keep within {room:g} s" if rows else f", the fewest there may be, take more than {room:g} s"
        )
        for key in keys:
            self._set(f"search.{key}", row[key], reason)


def _word(value: Any) -> str:
    if value is None:
        return "all"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
