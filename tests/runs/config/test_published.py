"""The budget ``paper`` against published tables, typed from the papers and the released files of each method.

Sources: DC 2006.05929, DSA 2102.08259, DM 2110.04181, DataDAM 2310.00093, FTD (Table 7, for MTT 2203.11932), DATM
2310.05773, PAD 2408.03360 (Table 7), DD 1811.10959, FRePo 2206.00719, NCFM 2502.20653, DANCE and
TGDD (released code), IDM (released code), the soft-label control 2406.10485, and their repositories, as collected in
the project's notes on methods (sections 4 to 11, 13, 14, 19 and 20).
"""

import pytest

from study.core.config import flatten
from study.data.datasets import DATASETS
from study.methods.base import METHODS
from study.models.pool import PUBLISHED as AS_PUBLISHED
from study.runs.config.configure import Request, configure
from study.runs.config.recipes import BUDGETS, read_differences

IPCS = (1, 10, 50)

COMMON = {
    "dc": {"image_lr": 0.1, "momentum": 0.5, "model_lr": 0.01, "batch_real": 256, "init": "noise"},
    "dsa": {"image_lr": 0.1, "momentum": 0.5, "model_lr": 0.01, "batch_real": 256, "init": "real"},
    "dm": {"num_iterations": 20_000, "momentum": 0.5, "batch_real": 256, "init": "real"},
    "datadam": {
        "num_iterations": 8_000, "momentum": 0.5, "batch_real": 64, "attention_power": 4, "output_weight": 0.01,
        "loss_scale": 1, "model_steps": 0, "iterations_per_network": 1, "attention_layers": "all-but-last",
    },
    "mtt": {
        "num_iterations": 5_000, "momentum": 0.5, "num_expert_epochs": 2, "experts.optimizer": "sgd",
        "experts.num_epochs": 50, "init": "real",
    },
    "datm": {
        "num_iterations": 10_000, "momentum": 0.5, "label_momentum": 0.9, "num_expert_epochs": 2, "step_size": 0.01,
        "num_student_steps": 80, "min_start_epoch": 0, "init": "correct", "soft_labels": True,
        "experts.optimizer": "gsam", "experts.gsam_rho": 0.01, "experts.gsam_alpha": 0.3,
        "experts.gsam_adaptive": True, "experts.num_epochs": 100,
    },
    "dd": {
        "image_lr": 0.01, "betas": [0.5, 0.999], "lr_decay": 0.5, "lr_decay_fraction": 0.1, "batch_real": 1024,
        "num_distill_epochs": 3, "init": "noise",
    },
}  # fmt: skip
COMMON["random-soft"] = {
    "init": "real",
    "num_iterations": 0,
    "experts.num_experts": 1,
    "experts.augment": True,
}
_PRETRAINED = {
    "network": "interpolated", "batch_real": 128, "num_iterations": 10_000, "momentum": 0.5, "pixel_range": 0,
    "init": "real", "optimizer": "sgd", "distance": "mean", "ce_weight": 1, "ce_network": "final",
    "experts.num_experts": 20,
    "experts.num_epochs": 60, "experts.momentum": 0.9, "experts.weight_decay": 5e-4, "experts.batch_size": 128,
    "experts.lr": 0.01, "experts.epoch_fraction": 1,
}  # fmt: skip
COMMON["dance"] = _PRETRAINED
COMMON["ncfm"] = _PRETRAINED | {
    "num_iterations": 20_000, "optimizer": "adamw", "weight_decay": 5e-4, "batch_real": 1024, "loss_scale": 300,
    "distance": "characteristic", "amplitude_weight": 0.5, "num_frequencies": 1024,
}  # fmt: skip
COMMON["tgdd"] = _PRETRAINED | {"network": "snapshot", "ce_network": "later", "ce_interval": 7}
COMMON["idm"] = {
    "network": "snapshot", "num_iterations": 20_000, "momentum": 0.5, "optimizer": "sgd", "image_lr": 0.2,
    "pixel_range": None, "distance": "mean", "ce_network": "matched", "ce_by_accuracy": True, "experts.lr": 0.01,
    "experts.momentum": 0.9, "experts.weight_decay": 5e-4, "experts.batch_size": 256, "experts.augment": False,
}  # fmt: skip
COMMON["frepo"] = {
    "num_iterations": 500_000, "image_lr": 3e-4, "batch_real": 1024, "num_networks": 10, "num_model_steps": 100,
    "model_lr": 3e-4, "learn_labels": True, "init": "real",
}  # fmt: skip
COMMON["pad"] = COMMON["datm"] | {
    "drop": "shallow", "schedule.initial_fraction": 0.75, "schedule.addition_end_epoch": 20,
    "difficulty.score": "el2n", "difficulty.num_epochs": 10, "difficulty.max_steps": None,
    "difficulty.max_width": None,
}  # fmt: skip
EXPERTS = {
    "experts.num_experts": 100, "experts.lr": 0.01, "experts.momentum": 0, "experts.weight_decay": 0,
    "experts.batch_size": 256, "experts.epoch_fraction": 1, "experts.augment": True,
}  # fmt: skip
for _method in ("mtt", "datm", "pad"):
    COMMON[_method] = COMMON[_method] | EXPERTS

# One value for each of IPC 1, 10 and 50.
BY_IPC = {
    "dc": {"num_iterations": (1000 * 1, 1000 * 10, 1000 * 50)},
    "dsa": {"num_iterations": (1000 * 1, 1000 * 10, 1000 * 50)},
    "dm": {"image_lr": (1, 1, 1)},
    "datadam": {"image_lr": (1, 1, 1)},
    "mtt": {
        "num_student_steps": (50, 30, 30), "max_start_epoch": (2, 20, 40), "image_lr": (100, 100, 1000),
        "step_size_lr": (1e-7, 1e-5, 1e-5), "step_size": (0.01, 0.001, 0.01),
    },
    "datm": {
        "first_max_start_epoch": (None, 10, 20), "max_start_epoch": (4, 20, 40), "image_lr": (100, 100, 1000),
        "label_lr": (5, 2, 2), "step_size_lr": (1e-7, 1e-5, 1e-5), "threshold": (1.1, 1, 1),
    },
    "dd": {},
    "frepo": {},
    # 0.01 times the images a class in raw pixels, 16 times that in normalised ones.
    "dance": {"image_lr": (0.16, 1.6, 8)},
    "tgdd": {"image_lr": (0.16, 1.6, 8)},
    "ncfm": {},
    "idm": {"batch_real": (5000, 256, 256), "ce_weight": (0.5, 0.5, 0.1)},
    "random-soft": {"teacher_epoch": (20, 44, 128)},
}  # fmt: skip
BY_IPC["pad"] = BY_IPC["datm"] | {"discard_fraction": (0, 0.25, 0.25)}
EXPANSION = {"datm": (None, 1000, 2000), "pad": (None, 100, 100)}
"""Iteration at which the range of start epochs has grown (E)."""

# Preset, epochs and batch of evaluation, and whether it augments.
EVALUATION = {
    "dc": ("dc", 300, 256, False),
    "dsa": ("dc", 1000, 256, True),
    "dm": ("dc", 1000, 256, True),
    "datadam": ("datadam", 1800, 64, True),
    "mtt": ("mtt", 1000, 256, True),
    "datm": ("datm", 1000, 128, True),
    "pad": ("datm", 1000, 128, True),
    "frepo": ("dc", 1000, 256, True),
    **dict.fromkeys(("ncfm", "dance", "tgdd", "idm"), ("dc", 1000, 256, True)),
    "random": ("dc", 1000, 256, True),
    "random-soft": ("dc", 3000, 256, True),
    "herding": ("dc", 1000, 256, True),
    "k-center": ("dc", 1000, 256, True),
    "k-means": ("dc", 1000, 256, True),
    "forgetting": ("dc", 1000, 256, True),
}
WHITENED = ("datadam", "mtt", "datm", "pad")


def published(method, dataset="cifar10", ipc=10, **more):
    return configure(Request(method, dataset, ipc, "paper", **more))


@pytest.mark.parametrize("dataset", ["cifar10", "mnist", "fashion-mnist", "folder", "digits"])
@pytest.mark.parametrize("method", COMMON)
def test_values_are_the_published_ones_at_each_size(method, dataset):
    for position, ipc in enumerate(IPCS):
        found = flatten(published(method, dataset, ipc).plain()["distill"])
        expected = COMMON[method] | {key: row[position] for key, row in BY_IPC[method].items()}
        assert {key: found[key] for key in expected} == expected, ipc


@pytest.mark.parametrize("method", EXPANSION)
def test_the_range_of_start_epochs_grows_as_long_as_published(method):
    for ipc, expansion in zip(IPCS, EXPANSION[method], strict=True):
        config = published(method, ipc=ipc).distill
        first, last = config.first_max_start_epoch or config.max_start_epoch, config.max_start_epoch
        assert config.start_range(0) == (0, first)
        if expansion is None:
            assert first == last
            continue
        assert config.start_range(expansion)[1] == last
        assert config.start_range(expansion - 1)[1] < last


@pytest.mark.parametrize("method", ["mtt", "datm", "pad"])
def test_a_student_step_sees_the_whole_set(method):
    # Published batches of 10, 100 and 500 images of CIFAR-10 are that; larger ones have no effect.
    assert all(published(method, ipc=ipc).distill.batch_synthetic is None for ipc in IPCS)


@pytest.mark.parametrize("method", EVALUATION)
def test_evaluation_is_the_published_one(method):
    for ipc in IPCS:
        config = published(method, ipc=ipc).evaluation
        recipe = config.resolve()
        assert (config.preset, recipe.epochs, recipe.batch_size, recipe.augment) == EVALUATION[method]
        assert (recipe.momentum, recipe.weight_decay, recipe.num_steps) == (0.9, 5e-4, None)
        assert recipe.use_learned_step_size == (method in ("mtt", "datm", "pad"))


def test_dc_is_evaluated_with_augmentation_on_mnist():
    assert published("dc", "mnist").evaluation.resolve().epochs == 1000


@pytest.mark.parametrize("method", EVALUATION)
def test_images_and_networks_are_the_published_ones(method):
    for ipc in IPCS:
        config = published(method, ipc=ipc)
        assert (config.data.preprocessing == "zca") == (method in WHITENED)
        assert (config.model.name, config.model.width, config.model.norm) == ("convnet", None, AS_PUBLISHED)


def test_larger_sets_take_larger_steps():
    rates = {ipc: published("dm", ipc=ipc).distill.image_lr for ipc in (50, 99, 100, 500)}
    assert rates == {50: 1, 99: 1, 100: 10, 500: 10}
    for variant in (None, "paper"):
        assert published("datadam", ipc=50, variant=variant).distill.image_lr == 1
        assert published("datadam", ipc=51, variant=variant).distill.image_lr == 10
    assert published("datadam", "mhist").distill.output_weight == 0.02


def test_the_largest_sets_have_rows_of_their_own():
    for ipc, steps, discarded in [(500, 40, 0.5), (1000, 100, 0.75)]:
        datm, pad = (published(method, ipc=ipc).distill for method in ("datm", "pad"))
        for config in (datm, pad):
            assert (config.min_start_epoch, config.max_start_epoch, config.batch_synthetic) == (40, 60, 1000)
            assert (config.image_lr, config.label_lr, config.step_size_lr) == (50, 10, 1e-5)
        assert (datm.num_student_steps, pad.num_student_steps) == (steps, 80)
        assert pad.discard_fraction == discarded


def test_released_code_of_pad_differs_where_it_does():
    rows = [(1, 0, 2, None), (10, 0.5, 2, 1000), (50, 0.25, 3, 2000)]
    for ipc, discarded, epochs, expansion in rows:
        config = published("pad", ipc=ipc, variant="official-code").distill
        assert (config.drop, config.discard_fraction, config.num_expert_epochs) == (
            "low_loss",
            discarded,
            epochs,
        )
        assert expansion is None or config.expansion_fraction * config.num_iterations == expansion


def test_released_code_of_datadam_differs_where_it_does():
    config = published("datadam", variant="official-code")
    assert (config.distill.attention_power, config.distill.loss_scale, config.model.norm) == (1, 100, "batch")
    assert config.distill.num_iterations == 20_000


def test_dd_starts_from_smaller_steps_and_lenet_where_published():
    assert published("dd", "mnist").model.name == "lenet"
    assert published("dd", "mnist").distill.step_size == 0.02
    assert published("dd", "cifar10").distill.step_size == 0.001


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_search_tries_the_recipes_own_values_first(method, budget):
    for dataset in DATASETS:
        for ipc in IPCS:
            config = configure(Request(method, dataset, ipc, budget))
            left_out = config.space.keys() - config.first_trial()
            # Sizes of a test lie below what is worth searching, and nothing else lies outside.
            assert left_out <= {f"distill.{key}" for key in METHODS[method].smoke if budget == "smoke"}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_what_differs_is_said(method):
    differs = read_differences(method, "cifar10")
    assert len(differs) == len(set(differs)) >= 5
    assert all(text and not text.endswith(".") for text in differs)
