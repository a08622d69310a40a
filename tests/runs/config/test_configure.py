"""One frozen configuration: wrong requests are one line, digests see what decides a result."""

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.core.spaces import Choice, Range
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions
from study.runs.plan import plan
from study.runs.tune import tune


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overrides": {"distill": {"image_lrr": 1}}}, "Did you mean 'distill.image_lr'"),
        ({"overrides": {"distil": {"image_lr": 1}}}, "Did you mean 'distill'"),
        ({"overrides": {"distill": 3}}, "expected settings below it"),
        ({"overrides": {"model": {"name": "convnat"}}}, "unknown model 'convnat'. Did you mean 'convnet'"),
        ({"overrides": {"space": {}}}, "use --space"),
        ({"overrides": {"seed": 3}}, "--set seed: use --seed"),
        ({"space": {"distill.speed": Range(low=1, high=2)}}, "unknown searched parameter 'distill.speed'"),
        ({"space": {"evaluation.lr": Range(low=1, high=2)}}, "unknown searched parameter 'evaluation.lr'"),
        ({"space": {"distill.image_lr": Range(low=-1, high=2)}}, r"distill\.image_lr = -1"),
        ({"space": {"distill.nothing": None}}, "unknown searched parameter"),
    ],
)
def test_wrong_request_is_one_line(more, message):
    with pytest.raises(ConfigError, match=message) as caught:
        configure(Request("dm", "digits", 1, "smoke", **more))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["method", "dataset", "budget"])
def test_unknown_name_lists_the_choices(key):
    with pytest.raises(UnknownNameError, match="Choices"):
        configure(Request(**{"method": "dm", "dataset": "digits", key: "nonesuch"}))


@pytest.mark.parametrize("ipc", [0, -3])
def test_ipc_below_one_is_refused(ipc):
    with pytest.raises(ConfigError, match=f"ipc = {ipc}"):
        configure(Request("dm", "digits", ipc))


@pytest.mark.parametrize(
    "more",
    [
        {"overrides": {"distill": {"image_lr": 50.0}}},
        {"space": {"distill.image_lr": Range(low=2, high=3)}},
        {"space": {"distill.momentum": Range(low=0.1, high=0.9, step=0.3)}},
    ],
)
def test_a_search_refuses_own_values_outside_its_ranges(more, tmp_path):
    config = configure(Request("dm", "digits", 1, "smoke", **more))  # one configuration alone is in order
    for begin in (lambda: tune(config, StoreOptions()), lambda: plan(config, StoreOptions())):
        with pytest.raises(
            ConfigError, match=r"outside its search range .*--set distill\.\w+=VALUE"
        ) as caught:
            begin()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Range(low=1, high=2), (1, 1.7, 2), (0.99, 2.1, "1", None, True)),
        (Range(low=0, high=0.9, step=0.1), (0.3, 0.9), (0.35, 1.0)),
        (Range(kind="int", low=2, high=14, step=4), (2, 10), (4, 16)),
        (Range(kind="int", low=2, high=20, log=True), (3, 20), (2.5,)),
        (Choice(choices=("real", "noise")), ("real",), ("correct",)),
    ],
)
def test_a_parameter_knows_what_it_contains(parameter, inside, outside):
    assert all(parameter.contains(value) for value in inside)
    assert not any(parameter.contains(value) for value in outside)


def test_digest_leaves_out_what_does_not_decide_the_result():
    config = configure(Request("dm", "digits", 1, "smoke"))
    longer = configure(Request("dm", "digits", 1, "smoke", overrides={"search": {"num_trials": 9}}))
    other = configure(Request("dm", "digits", 1, "smoke", seed=1))
    assert config.digest == longer.digest
    assert config.digest != other.digest


def test_parameters_of_a_trial_replace_settings():
    config = configure(Request("dm", "digits", 1, "smoke"))
    assert config.with_params({"distill.image_lr": 0.25}).distill.image_lr == 0.25
    assert set(config.first_trial()) == set(config.space)
    with pytest.raises(ConfigError, match=r"distill\.image_lr"):
        config.with_params({"distill.image_lr": -1})
