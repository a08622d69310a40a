"""Every shipped recipe loads, builds under each of its budgets, and its search space names real settings."""

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.core.spaces import Range
from study.methods.base import METHODS
from study.runs.config.configure import Request, configure, restore
from study.runs.config.recipes import BUDGETS, list_recipes, load_recipe

RECIPES = list_recipes()
CASES = [(path, budget) for path in RECIPES for budget in BUDGETS]


def request_of(path, budget, **more):
    method, _, dataset = path.stem.partition("_")
    return Request(method, dataset or "digits", 1, budget, recipe=path, **more)


@pytest.mark.parametrize(("path", "budget"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_recipe_builds(path, budget):
    config = configure(request_of(path, budget))
    assert config.budget == budget
    assert restore(config.plain()) == config


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_header_states_claim_or_cost_and_expectation(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("Cost" in line or "Hardware" in line for line in header)
    assert any("Expect" in line for line in header)


def test_every_method_has_a_recipe_and_a_space():
    stems = {path.stem.partition("_")[0] for path in RECIPES}
    assert set(METHODS) <= stems


def test_budgets_change_the_counts():
    smoke, quick = (configure(Request("dm", "digits", 1, budget)) for budget in ("smoke", "quick"))
    assert smoke.distill.num_iterations < quick.distill.num_iterations
    assert smoke.digest != quick.digest


def test_budget_may_not_change_the_science(tmp_path):
    path = tmp_path / "dm.toml"
    path.write_text("[budget.quick]\ndistill.image_lr = 3\n")
    with pytest.raises(ConfigError, match=r"budget\.quick\.distill\.image_lr"):
        load_recipe("dm", "digits", path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[distil]\nimage_lr = 1\n", "Did you mean 'distill'"),
        ("[budget.huge]\n", "unknown budget in"),
        ('method = "pad"\n', "is a recipe for method 'pad', not 'dm'"),
    ],
)
def test_wrong_recipe_is_one_line(tmp_path, text, message):
    path = tmp_path / "dm.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe("dm", "digits", path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overrides": {"distill": {"image_lrr": 1}}}, "Did you mean 'distill.image_lr'"),
        ({"overrides": {"distil": {"image_lr": 1}}}, "Did you mean 'distill'"),
        ({"overrides": {"distill": 3}}, "expected settings below it"),
        ({"overrides": {"model": {"name": "convnat"}}}, "unknown model 'convnat'. Did you mean 'convnet'"),
        ({"overrides": {"space": {}}}, "use --space"),
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


def test_digest_leaves_out_what_does_not_decide_the_result():
    config = configure(Request("dm", "digits", 1, "smoke"))
    longer = configure(Request("dm", "digits", 1, "smoke", overrides={"search": {"num_trials": 9}}))
    other = configure(Request("dm", "digits", 1, "smoke", seed=1))
    assert config.digest == longer.digest
    assert config.digest != other.digest


def test_parameters_of_a_trial_replace_settings():
    config = configure(Request("dm", "digits", 1, "smoke"))
    assert config.with_params({"distill.image_lr": 0.25}).distill.image_lr == 0.25
    assert set(config.defaults_of_space()) == set(config.space)
    with pytest.raises(ConfigError, match=r"distill\.image_lr"):
        config.with_params({"distill.image_lr": -1})
