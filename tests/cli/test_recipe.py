"""``study recipe``: the composed settings with their origins, and what can be named."""

import json

import pytest
from typer.testing import CliRunner

from study.cli.app import app
from study.data.datasets import DATASETS
from study.methods.base import METHODS
from study.runs.catalog.recipes import explain
from study.runs.config.configure import Request, configure


def run(*words):
    return CliRunner().invoke(app, ["recipe", *words], env={"COLUMNS": "140"})


def show(*words):
    result = run("show", *words, "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    return shown, {row["key"]: (row["value"], row["origin"]) for row in shown["settings"]}


def test_each_value_names_its_origin():
    words = ["pad", "mnist", "--ipc", "10", "--budget", "quick", "--set", "distill.momentum=0.25"]
    shown, settings = show(*words, "--space", "distill.momentum=0:0.5")
    expected = {
        "model.name": ("convnet", "default"),
        "distill.label_lr": (2.0, "method default"),
        "work.score_seconds": (4.0, "budget quick"),
        "work.trial_seconds": (22.0, "method mtt, quick"),
        "evaluation.preset": ("dc", "dataset mnist"),
        "distill.num_iterations": (None, "counted work, see --dry-run"),
        "model.width": (None, "counted work, see --dry-run"),
        "distill.schedule.addition_end_epoch": (8, "method pad"),
        "distill.step_size": (None, "method default"),
        "distill.num_student_steps": (10, "method mtt, quick"),
        "distill.max_start_epoch": (20, "pair mtt mnist, quick, ipc 10"),
        "distill.num_expert_epochs": (3, "method mtt, quick, ipc 10"),
        "distill.experts.optimizer": ("sgd", "pair mtt mnist"),
        "distill.momentum": (0.25, "--set"),
    }
    assert {key: settings[key] for key in expected} == expected
    space = {row["key"]: (row["value"], row["origin"]) for row in shown["space"]}
    assert space["distill.label_lr"] == ("0.1 to 20, log", "method default")
    assert space["distill.max_start_epoch"] == ("8 to 26, step 6, whole", "pair mtt mnist, quick, ipc 10")
    assert space["distill.momentum"] == ("0 to 0.5", "--space")
    files = ["methods/mtt", "methods/datm", "methods/pad", "datasets/mnist", "pairs/mtt_mnist", "budgets"]
    assert shown["files"] == [f"{name}.toml" for name in files]


def test_variant_smoke_and_the_word_default_have_their_origin_too():
    _, settings = show("datadam", "digits", "--variant", "course", "--budget", "smoke")
    assert settings["distill.model_steps"] == (50, "variant course")
    assert settings["distill.num_iterations"] == (8, "method datadam, smoke")
    _, settings = show("datadam", "digits")
    assert settings["evaluation.batch_size"] == (None, "default")  # 50 in the budget
    assert settings["evaluation.num_steps"] == (None, "counted work, see --dry-run")
    assert settings["distill.num_iterations"] == (300, "pair datadam digits, quick")


def test_published_values_name_the_images_a_class_they_belong_to():
    shown, settings = show("pad", "cifar10", "--ipc", "25", "--budget", "paper")
    expected = {
        "distill.discard_fraction": (0.25, "method pad, paper, ipc 10"),
        "distill.max_start_epoch": (20, "method datm, paper, ipc 10"),
        "distill.num_student_steps": (80, "method datm, paper"),
        "distill.difficulty.max_steps": (None, "method default"),
        "data.preprocessing": ("zca", "pair mtt cifar10"),
    }
    assert {key: settings[key] for key in expected} == expected
    assert any("removes easy images once" in text for text in shown["differs"])
    assert "- the paper removes easy images once" in run("show", "pad", "cifar10").output


def test_a_setting_that_is_neither_the_papers_nor_the_codes_is_called_ours():
    shown, _ = show("datadam", "mnist")
    assert any("a setting of ours" in text for text in shown["differs"])


@pytest.mark.parametrize("method", ["datadam", "herding", "pad"])
def test_what_is_shown_is_what_a_run_gets(method):
    request = Request(method, "digits", 10, "course")
    shown, settings = show(method, "digits", "--ipc", "10", "--budget", "course")
    config = configure(request)
    assert shown["digest"] == config.digest
    assert [row["key"] for row in shown["space"]] == list(config.space)
    assert settings["distill.num_iterations"][0] == config.distill.num_iterations
    composition = explain(request)
    assert composition.config == config
    assert {setting.key for setting in composition.changed} == {
        key for key, (_, origin) in settings.items() if not origin.endswith("default")
    }


def test_own_recipe_is_named(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("[distill]\nimage_lr = 3\n")
    shown, settings = show("dm", "digits", "--recipe", str(own))
    assert settings["distill.image_lr"] == (3, "recipe own.toml")
    assert str(own) in shown["files"]
    assert "pairs/dm_digits.toml" not in shown["files"]


def test_table_has_every_setting_and_the_files():
    result = run("show", "dm", "digits")
    assert result.exit_code == 0
    for words in ("distill.image_lr", "dataset digits", "search space", "pairs/dm_digits.toml"):
        assert words in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["padd", "mnist"], "unknown method 'padd'. Did you mean 'pad'?"),
        (["pad", "mnits"], "unknown dataset 'mnits'. Did you mean 'mnist'?"),
        (["pad", "mnist", "--budget", "papr"], "unknown budget 'papr'. Did you mean 'paper'?"),
        (["datadam", "mnist", "--variant", "corse"], "unknown variant 'corse'. Did you mean 'course'?"),
        (["dm", "mnist", "--set", "distil.image_lr=1"], "unknown key 'distil'. Did you mean 'distill'?"),
    ],
)
def test_unknown_name_is_one_line_with_the_nearest(words, message):
    result = run("show", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_list_names_everything():
    names = json.loads(run("list", "--json").stdout)
    methods = {row["name"]: row for row in names["methods"]}
    assert set(methods) == set(METHODS)
    assert methods["pad"]["like"] == "datm"
    assert {"mtt_cifar10", "pad_cifar10"} <= set(methods["pad"]["pairs"])
    assert methods["datadam"]["variants"] == ["paper", "official-code", "course"]
    assert {row["name"]: row["recipe"] for row in names["datasets"]} == {
        name: name in {"digits", "mnist", "mhist"} for name in DATASETS
    }
    assert names["budgets"] == ["smoke", "quick", "course", "paper"]
    table = run("list").output
    assert "pad_cifar10" in table
    assert "fashion-mnist" in table


def test_help_has_an_example():
    for command in ("show", "list"):
        assert "Example" in run(command, "--help").output
