"""Recipes: the shipped files, the order in which they are laid over each other, and what a file may not say."""

import functools

import pytest

from study.core.config import flatten, merge, read_toml
from study.core.errors import ConfigError, UnknownNameError
from study.data.datasets import DATASETS
from study.methods import base
from study.runs.config import recipes
from study.runs.config.configure import Request, configure, restore
from study.runs.config.recipes import BUDGETS, find_recipes, read_layers, read_recipe, recipes_folder

FILES = sorted(recipes_folder().glob("*/*.toml"))
PAIRS = [path for path in FILES if path.parent.name == "pairs"]
METHODS = sorted(base.METHODS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of recipes that is searched in place of the shipped one."""
    for kind in ("methods", "datasets", "pairs"):
        (tmp_path / kind).mkdir()
    (tmp_path / "budgets.toml").write_text("".join(f"[budget.{name}]\n" for name in BUDGETS))
    monkeypatch.setattr(recipes, "recipes_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_on_every_dataset(method, budget):
    for dataset in DATASETS:
        config = configure(Request(method, dataset, 1, budget))
        assert (config.method, config.dataset, config.budget) == (method, dataset, budget)
        assert restore(config.plain()) == config


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_file_says_what_it_is_for(path):
    recipe, (first, _, second) = read_recipe(path), path.stem.partition("_")
    kind = path.parent.name
    named = {"methods": (first, None), "datasets": (None, first), "pairs": (first, second)}[kind]
    assert (recipe.method, recipe.dataset) == named
    assert named[0] in (*METHODS, None)
    assert named[1] in (*DATASETS, None)
    assert recipe.like in (*METHODS, None)
    assert set(recipe.methods or ()) <= set(METHODS)
    assert recipe.like is None or kind == "methods"
    assert recipe.methods is None or kind == "datasets"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name != "datasets"], ids=lambda path: path.stem
)
def test_header_states_cost_and_expectation(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(line.startswith(("# Cost", "# Hardware")) for line in header)
    assert any(line.startswith("# Expect") for line in header)


def test_shipped_budgets_are_the_known_ones():
    assert tuple(read_toml(recipes_folder() / "budgets.toml")["budget"]) == BUDGETS


def test_every_method_has_a_recipe():
    assert {path.stem for path in FILES if path.parent.name == "methods"} == set(METHODS)


def leaves(tree, above=()):
    for key, value in tree.items():
        if isinstance(value, dict) and "space" not in above:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


def without(tree, keys):
    rest = {key: value for key, value in tree.items() if key != keys[0]}
    return rest if len(keys) == 1 else {**rest, keys[0]: without(tree[keys[0]], keys[1:])}


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_pair_states_nothing_that_holds_without_it(path, monkeypatch):
    read = functools.cache(read_toml)
    whole = read(path)
    changed = {path: whole}
    monkeypatch.setattr(recipes, "read_toml", lambda asked: changed.get(asked) or read(asked))
    first, _, dataset = path.stem.partition("_")
    family = [
        name for name in METHODS if f"method {first}" in {file.origin for file in find_recipes(name, dataset)}
    ]
    assert first in family

    @functools.cache
    def plain(method, budget, ipc, left_out):
        changed[path] = without(whole, left_out) if left_out else whole
        try:
            return configure(Request(method, dataset, ipc, budget)).plain()
        except ConfigError as error:
            return str(error)

    for keys in leaves(
        {key: value for key, value in whole.items() if key not in ("method", "dataset", "differs")}
    ):
        budgets = [keys[1]] if keys[0] == "budget" else BUDGETS
        ipc = int(keys[3]) if keys[0] == "budget" and keys[2] == "ipc" else 1
        assert any(plain(m, b, ipc, keys) != plain(m, b, ipc, None) for m in family for b in budgets), (
            ".".join(keys)
        )


def test_layers_lie_in_the_order_that_is_promised(folder):
    """A layer states the keys of all that are higher and one of its own, so each has to win exactly one."""
    stated = [
        ("methods/dm.toml", ""), ("methods/dsa.toml", ""), ("datasets/digits.toml", ""),
        ("pairs/dm_digits.toml", ""), ("pairs/dsa_digits.toml", ""),
        ("budgets.toml", "budget.quick."), ("budgets.toml", "budget.quick.ipc.1."),
        ("methods/dm.toml", "budget.quick."), ("methods/dm.toml", "budget.quick.ipc.10."),
        ("methods/dsa.toml", "budget.quick."), ("datasets/digits.toml", "budget.quick."),
        ("pairs/dm_digits.toml", "budget.quick."), ("pairs/dsa_digits.toml", "budget.quick."),
        ("pairs/dsa_digits.toml", "budget.quick.ipc.2."), ("methods/dsa.toml", "variant.mine."),
        ("methods/dsa.toml", "variant.mine.budget.quick."), ("methods/dsa.toml", "variant.mine.budget.quick.ipc.1."),
    ]  # fmt: skip
    (folder / "budgets.toml").write_text("")
    (folder / "methods" / "dsa.toml").write_text('like = "dm"\n')
    for rank, (name, table) in enumerate(stated):
        with (folder / name).open("a") as file:
            file.writelines(f"{table}distill.num_{key} = {rank}\n" for key in range(rank, len(stated)))
    tree = {}
    for layer in read_layers("dsa", "digits", "quick", 10, "mine"):
        tree = merge(tree, layer.values)
    assert tree["distill"] == {f"num_{key}": key for key in range(len(stated))}


def test_unstated_names_run_on_the_defaults_of_the_code(folder):
    config = configure(Request("dm", "folder", 1, "paper"))
    assert config.distill == base.METHODS["dm"].Config()
    assert find_recipes("dm", "folder") == []


def test_smoke_sizes_are_those_of_the_class(folder):
    assert configure(Request("dm", "folder", 1, "smoke")).distill.num_iterations == 8
    (folder / "methods" / "dm.toml").write_text("budget.smoke.distill.num_iterations = 3\n")
    assert configure(Request("dm", "folder", 1, "smoke")).distill.num_iterations == 3


def test_the_word_default_gives_the_value_back_to_the_code(folder):
    (folder / "methods" / "dm.toml").write_text("[distill]\nimage_lr = 5.0\n")
    (folder / "datasets" / "digits.toml").write_text('[distill]\nimage_lr = "default"\n')
    assert configure(Request("dm", "mnist")).distill.image_lr == 5
    assert configure(Request("dm", "digits")).distill.image_lr == 1


def test_dataset_recipe_holds_for_the_methods_it_names(folder):
    (folder / "datasets" / "mnist.toml").write_text('methods = ["dm"]\n[model]\nwidth = 7\n')
    assert configure(Request("dm", "mnist")).model.width == 7
    assert configure(Request("dsa", "mnist")).model.width is None


def test_search_counts_are_for_methods_that_search(folder):
    (folder / "datasets" / "mnist.toml").write_text("[search]\nnum_trials = 77\n")
    assert configure(Request("dm", "mnist")).search.num_trials == 77
    assert configure(Request("random", "mnist")).search.num_trials == 8


def test_own_recipe_takes_the_place_of_the_pair_alone(folder, tmp_path):
    (folder / "datasets" / "mnist.toml").write_text("[model]\nwidth = 7\n")
    (folder / "pairs" / "dm_mnist.toml").write_text("[model]\ndepth = 2\n")
    own = tmp_path / "own.toml"
    own.write_text("[distill]\nimage_lr = 3\n")
    config = configure(Request("dm", "mnist", recipe=own))
    assert (config.model.width, config.model.depth, config.distill.image_lr) == (7, None, 3)


def test_a_range_replaces_a_range_whole(folder):
    (folder / "pairs" / "dm_mnist.toml").write_text(
        '[space]\n"distill.image_lr" = { low = 1, high = 2, step = 0.5 }\n'
    )
    assert configure(Request("dm", "mnist")).space["distill.image_lr"].log is False


def test_budgets_change_the_counts():
    smoke, quick = (configure(Request("dm", "digits", 1, budget)) for budget in ("smoke", "quick"))
    assert smoke.distill.num_iterations < quick.distill.num_iterations
    assert smoke.digest != quick.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[distil]\nimage_lr = 1\n", r"own\.toml: unknown key 'distil'. Did you mean 'distill'"),
        ("[variant.mine.distil]\n", "unknown key 'variant.mine.distil'"),
        ("distill = 3\n", r"own\.toml: distill = 3"),
        ("[budget.huge]\n", "unknown budget in"),
        (
            "[budget.quick]\ndistill.image_lr = 3\n",
            r"budget\.quick\.distill\.image_lr: a budget other than paper changes counts",
        ),
        (
            "[variant.mine.budget.quick]\ndistill.image_lr = 3\n",
            r"variant\.mine\.budget\.quick\.distill\.image_lr",
        ),
        ("[budget.paper.ipc.0]\n", r"own\.toml: budget\.paper\.ipc"),
        ("[budget.paper.ipc.ten]\n", r"own\.toml: budget\.paper\.ipc"),
        (
            '[space]\n"distill.image_lr" = { low = 2, high = 3 }\n',
            r"distill\.image_lr = 1.0: lies outside its search",
        ),
        ('method = "pad"\n', "is a recipe for method 'pad', not 'dm'"),
        ('dataset = "mnist"\n', "is a recipe for dataset 'mnist', not 'digits'"),
    ],
)
def test_wrong_recipe_is_one_line(tmp_path, text, message):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        configure(Request("dm", "digits", recipe=path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("ipc", "rate"), [(9, 1.0), (10, 3.0)])
def test_what_the_size_of_the_set_decides_may_be_any_value(tmp_path, ipc, rate):
    path = tmp_path / "own.toml"
    path.write_text("[budget.quick.ipc.10]\ndistill.image_lr = 3.0\n")
    assert configure(Request("dm", "digits", ipc, recipe=path)).distill.image_lr == rate


@pytest.mark.parametrize(("method", "said"), [("dm", "there is none"), ("datadam", "Choices")])
def test_unknown_variant_lists_those_there_are(method, said):
    with pytest.raises(UnknownNameError, match=f"unknown variant 'papr'.*{said}"):
        configure(Request(method, "digits", variant="papr"))


def test_variants_are_known_on_every_dataset():
    for dataset in DATASETS:
        config = configure(Request("datadam", dataset, 1, "course", variant="course"))
        assert flatten(config.plain())["distill.model_steps"] == 50


@pytest.mark.parametrize(("ipc", "rate"), [(1, 1), (4, 1), (5, 2), (9, 2), (10, 3), (1000, 3)])
def test_between_two_numbers_the_table_of_the_lower_one_holds(folder, ipc, rate):
    (folder / "methods" / "dm.toml").write_text(
        "[budget.paper.ipc.10]\ndistill.image_lr = 3\n[budget.paper.ipc.5]\ndistill.image_lr = 2\n"
    )
    assert configure(Request("dm", "mnist", ipc, "paper")).distill.image_lr == rate
    assert configure(Request("dm", "mnist", ipc, "quick")).distill.image_lr == 1


def test_published_budget_leaves_out_what_was_measured_on_the_data(folder, tmp_path):
    text = (
        '[data]\npreprocessing = "zca"\n[model]\nwidth = 7\n[distill]\nimage_lr = 3\n[evaluation]\nlr = 1\n'
    )
    (folder / "pairs" / "dm_mnist.toml").write_text(text)
    quick, paper = (configure(Request("dm", "mnist", budget=budget)) for budget in ("quick", "paper"))
    assert (quick.model.width, quick.distill.image_lr, quick.evaluation.lr) == (7, 3, 1)
    assert (paper.model.width, paper.distill.image_lr, paper.evaluation.lr) == (None, 1, None)
    assert quick.data.preprocessing == paper.data.preprocessing == "zca"
    own = tmp_path / "own.toml"
    own.write_text(text)
    assert configure(Request("dm", "mnist", budget="paper", recipe=own)).model.width == 7


def test_variants_win_over_the_published_values():
    config = configure(Request("datadam", "cifar10", 10, "paper", variant="official-code"))
    assert (config.distill.loss_scale, config.distill.num_iterations, config.model.norm) == (
        100,
        20_000,
        "batch",
    )
    assert configure(Request("datadam", "cifar10", 10, "paper")).distill.loss_scale == 1
