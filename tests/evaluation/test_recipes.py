"""Presets, overrides, and the learning rate of every step."""

import itertools
import math

import pytest
import torch

from study.core.config import build
from study.core.errors import ConfigError
from study.evaluation.recipes import PRESETS, EvaluationConfig, TrainingRecipe, learning_rates


def test_published_presets_say_what_the_papers_say():
    dc = EvaluationConfig(preset="dc").resolve()
    assert (dc.lr, dc.momentum, dc.weight_decay, dc.batch_size, dc.schedule) == (0.01, 0.9, 5e-4, 256, "drop")
    assert dc.steps(100) == 300
    assert EvaluationConfig(preset="dc", augment=True).resolve().steps(100) == 1000
    for name, epochs, batch, learned in (
        ("mtt", 1000, 256, True),
        ("datm", 1000, 128, True),
        ("datadam", 1800, 64, False),
    ):
        preset = PRESETS[name]
        assert (preset.epochs, preset.batch_size, preset.use_learned_step_size) == (epochs, batch, learned)
        assert preset.augment
    course = PRESETS["course"]
    assert (course.epochs, course.lr, course.schedule) == (20, 0.01, "cosine")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_epochs", 7), ("num_steps", 9), ("lr", 0.5), ("momentum", 0.0), ("weight_decay", 0.0),
        ("batch_size", 3), ("schedule", "constant"), ("augment", True), ("use_soft_labels", False),
        ("use_learned_step_size", True),
    ],
)  # fmt: skip
def test_an_override_wins_over_the_preset_and_changes_nothing_else(field, value):
    preset = PRESETS["dc"]
    assert getattr(preset, field) != value
    resolved = EvaluationConfig(preset="dc", **{field: value}).resolve()
    assert getattr(resolved, field) == value
    kept = set(TrainingRecipe.model_fields) - {field, "num_epochs_augmented"}
    assert all(getattr(resolved, name) == getattr(preset, name) for name in kept)


def test_asking_for_epochs_sets_the_number_of_steps_aside():
    assert EvaluationConfig(preset="quick").resolve().steps(600) == PRESETS["quick"].num_steps
    assert EvaluationConfig(preset="quick", num_epochs=4).resolve().steps(600) == 4 * 3
    assert EvaluationConfig(preset="dc", augment=True, num_epochs=4).resolve().steps(100) == 4


@pytest.mark.parametrize("num_epochs", [10, 11, 300])
@pytest.mark.parametrize("num_images", [100, 600])
def test_the_rate_drops_once_after_epoch_half_plus_one(num_epochs, num_images):
    recipe = TrainingRecipe(num_epochs=num_epochs)
    per_epoch = math.ceil(num_images / 256)
    rates = learning_rates(recipe, num_images, 0.01)
    assert len(rates) == num_epochs * per_epoch
    first = (num_epochs // 2 + 1) * per_epoch
    assert rates[:first] == [0.01] * first
    assert rates[first:] == [pytest.approx(0.001)] * (len(rates) - first)
    assert sum(a != b for a, b in itertools.pairwise(rates)) == 1


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean 'quick'\? Choices: course, datadam, datm, dc"):
        build(EvaluationConfig, {"preset": "quik"}, "evaluation")


def test_a_configuration_leaves_every_field_of_a_recipe_open_within_its_bounds():
    open_fields = EvaluationConfig.model_fields.keys() - {"preset", "num_seeds"}
    assert open_fields == TrainingRecipe.model_fields.keys() - {"num_epochs_augmented"}
    for name in open_fields:
        ours, theirs = EvaluationConfig.model_fields[name], TrainingRecipe.model_fields[name]
        assert (ours.default, ours.annotation) == (None, theirs.annotation | None), name
        assert ours.metadata == theirs.metadata, name


@pytest.mark.parametrize("schedule", ["constant", "drop", "cosine"])
@pytest.mark.parametrize("num_images", [10, 300])
def test_rates_are_those_of_torchs_schedulers(schedule, num_images):
    recipe = TrainingRecipe(num_epochs=7, schedule=schedule)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    scheduler = {
        "constant": torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
        "drop": torch.optim.lr_scheduler.MultiStepLR(optimizer, [7 // 2 + 1]),
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7),
    }[schedule]
    expected = []
    for _ in range(7):
        expected += [optimizer.param_groups[0]["lr"]] * -(-num_images // 256)
        optimizer.step()
        scheduler.step()
    assert learning_rates(recipe, num_images, 0.02) == pytest.approx(expected, rel=1e-12)
