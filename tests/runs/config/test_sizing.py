"""Sizes from counted work: within their limits for every method and any data, and never over what is stated."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from study.core.config import flatten, set_path
from study.methods.base import METHODS, find_method
from study.models.work import nominal_seconds
from study.runs.config.configure import Request, RunConfig, configure, restore
from study.runs.config.counting import DataSize, num_baseline_networks, num_scored_networks, score_loads
from study.runs.config.resolution import SIDES, oversize
from study.runs.config.sizing import SCORE_STEPS, WIDTHS, fit
from study.runs.config.work import SIZED
from study.search.config import SearchConfig

DATA = {
    "mnist": DataSize((1, 28, 28), (5400,) * 10, 6000),
    "colour": DataSize((3, 32, 32), (5400,) * 10, 6000),
    "two": DataSize((1, 28, 28), (3494, 1214), 524),
    "few": DataSize((3, 32, 32), (86, 50, 29, 14), 20),
    "large": DataSize((3, 224, 224), (1500, 600), 230),
}


def sized(method: str, data: DataSize, ipc: int = 1, **settings: Any) -> RunConfig:
    overrides: dict[str, Any] = {}
    for key, value in settings.items():
        overrides = set_path(overrides, key.replace("__", "."), value)
    return fit(configure(Request(method, "folder", ipc, "quick", overrides=overrides)), data)


def seconds_of_trial(config: RunConfig, data: DataSize) -> float:
    method = find_method(config.method)(config.distill)
    return config.distill.num_iterations * nominal_seconds(method.iteration_loads(data.of_task(config)))


@pytest.mark.parametrize("method", METHODS)
def test_everything_keeps_within_its_limit_or_is_as_small_as_may_be(method: str) -> None:
    for name, ipc in (("mnist", 10), ("colour", 1), ("two", 10), ("few", 1), ("few", 14), ("large", 10)):
        config, data = sized(method, DATA[name], ipc), DATA[name]
        work, search = config.work, config.search
        assert work.score_seconds is not None
        assert work.trial_seconds is not None
        assert work.evaluation_seconds is not None
        score = nominal_seconds(score_loads(config, data))
        least = (config.model.width, config.evaluation.num_steps) == (WIDTHS[-1], SCORE_STEPS[0])
        assert score <= work.score_seconds or least
        trial = seconds_of_trial(config, data)
        assert trial <= work.trial_seconds or config.distill.num_iterations == work.num_iterations_least
        assert trial * search.num_trials <= 4 * work.trial_seconds or search.num_trials == 2
        networks = num_scored_networks(search) - num_baseline_networks(search)
        assert networks * score <= work.evaluation_seconds or search.num_finalists == 1
        assert config.work.open == ()
        assert work.chosen.keys() <= set(configure(Request(method, "folder", ipc, "quick")).work.open)


def test_larger_images_get_narrower_networks_and_fewer_seeds() -> None:
    small, large = (sized("dm", DATA[name], ipc=10) for name in ("two", "large"))
    assert small.model.width > large.model.width
    assert small.distill.num_iterations > large.distill.num_iterations
    assert num_scored_networks(small.search) >= num_scored_networks(large.search)


def test_what_is_stated_is_not_chosen() -> None:
    free = sized("dm", DATA["mnist"])
    assert {"model.width", "distill.num_iterations", "distill.batch_real"} <= free.work.chosen.keys()
    stated = sized("dm", DATA["mnist"], model__width=48, distill__num_iterations=7, search__num_trials=9)
    assert (stated.model.width, stated.distill.num_iterations, stated.search.num_trials) == (48, 7, 9)
    assert not {"model.width", "distill.num_iterations", "search.num_trials"} & stated.work.chosen.keys()
    # What was measured for digits is stated by its recipes.
    digits = fit(configure(Request("dm", "digits", 1)), DataSize((1, 8, 8), (130,) * 10, 144))
    assert (digits.model.width, digits.distill.num_iterations, digits.search.num_trials) == (64, 500, 10)
    assert "model.width" not in digits.work.chosen


@pytest.mark.parametrize("key", SIZED)
def test_a_default_that_is_asked_for_is_open_again(key: str) -> None:
    config = configure(Request("pad", "folder", 1, "quick"))
    assert key in config.work.open or key not in flatten(config.plain())


@pytest.mark.parametrize("budget", ["smoke", "course", "paper"])
def test_other_budgets_have_no_limits_and_choose_nothing(budget: str) -> None:
    config = configure(Request("pad", "mnist", 10, budget))
    chosen = fit(config, DATA["mnist"])
    assert (chosen.work.chosen, chosen.work.open) == ({}, ())
    left = {"work": None}
    assert {**chosen.plain(), **left} == {**config.plain(), **left}


def test_a_sized_configuration_is_kept_as_it_is() -> None:
    config = sized("datadam", DATA["colour"], ipc=10)
    kept = restore(config.plain())
    assert kept == config
    assert fit(kept, DATA["large"]) is kept, "a resumed search has the sizes it began with"
    reasoned = config.model_copy(update={"work": config.work.model_copy(update={"chosen": {}})})
    assert reasoned.digest == config.digest, "why is no part of what decides the result"
    assert config.digest != sized("datadam", DATA["two"], ipc=10).digest


def test_a_limit_of_ones_own_counts() -> None:
    usual, long = sized("dm", DATA["colour"]), sized("dm", DATA["colour"], work__trial_seconds=60)
    assert long.distill.batch_real > usual.distill.batch_real  # type: ignore[attr-defined]
    assert long.distill.num_iterations > usual.distill.num_iterations
    experts = [
        sized("pad", DATA["colour"], work__preparation_seconds=seconds).distill.experts.epoch_fraction  # type: ignore[attr-defined]
        for seconds in (1, 25, 1e6)
    ]
    assert experts == sorted(experts)
    assert (round(experts[0], 3), experts[2]) == (0.019, 1.0)
    assert 0.019 < experts[1] < 1


def test_a_search_far_over_its_budget_says_so() -> None:
    for name, ipc, said in (("large", 10, True), ("two", 10, False), ("colour", 10, False)):
        warning = oversize(sized("pad", DATA[name], ipc), DATA[name])
        assert (warning is not None) == said, warning
        assert warning is None or ("224 x 224" in warning and "--resolution" in warning)
    assert oversize(configure(Request("pad", "folder", 10, "paper")), DATA["large"]) is None


@pytest.mark.parametrize("method", ["dm", "pad"])
def test_the_warning_names_the_largest_size_that_keeps_to_the_budget(method: str) -> None:
    large = DATA["large"]
    sides = [side for side in (224, *SIDES) if side <= 224]
    data = {side: replace(large, image_shape=(3, side, side)) for side in sides}
    warning = oversize(sized(method, large, 10), large)
    assert warning is not None
    named = re.search(r"--resolution (\d+)", warning)
    assert named is not None
    side = int(named[1])
    assert oversize(sized(method, data[side], 10), data[side]) is None
    larger = data[sides[sides.index(side) - 1]]
    assert oversize(sized(method, larger, 10), larger) is not None


def test_networks_are_counted_one_by_one() -> None:
    search = SearchConfig(
        num_trials=3, rungs=(0.5,), num_rung_seeds=1, num_trial_seeds=2, num_random_seeds=4, num_finalists=2,
        num_finalist_seeds=5,
    )  # fmt: skip
    trials, starts, random = 3 * (1 + 2), 2 * 2, 4 + 4
    finalists, test = 2 * 5, 5
    assert num_scored_networks(search) == trials + starts + random + finalists + test
