"""Searched layer weights and named variants, from the recipe to what a run records."""

import pytest
from PIL import Image

from study.core.errors import UnknownNameError
from study.core.spaces import Range
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.tune import tune


def layers_of(*words, **more):
    config = configure(Request("datadam", *words, **more))
    return [key.rpartition(".")[2] for key in config.space if "layer_weights" in key]


@pytest.mark.parametrize(
    ("dataset", "model", "layers"),
    [
        ("digits", {}, ["1", "2"]),
        ("mnist", {}, ["1", "2"]),
        ("mhist", {}, ["1", "2", "3", "4", "5"]),
        ("mhist", {"depth": 7}, list("123456")),
        ("digits", {"depth": 3}, ["1", "2", "3"]),
    ],
)
def test_every_attention_layer_gets_a_searched_weight(dataset, model, layers):
    assert layers_of(dataset, 1, "smoke", overrides={"model": model}) == layers


def test_a_single_layer_leaves_nothing_to_search():
    assert layers_of("digits", 1, "smoke", variant="paper") == []


def test_equal_weights_are_what_the_first_trial_tries():
    config = configure(Request("datadam", "digits", 1, "smoke"))
    first = config.first_trial()
    assert first["distill.layer_weights.1"] == first["distill.layer_weights.2"] == 1.0
    assert config.with_params(first).distill == config.distill


def test_layer_weights_can_be_held_or_narrowed():
    assert layers_of("digits", 1, "smoke", space={"distill.layer_weights.*": None}) == []
    narrow = {"distill.layer_weights.*": Range(low=0.5, high=2.0)}
    config = configure(Request("datadam", "digits", 1, "smoke", space=narrow))
    assert config.space["distill.layer_weights.2"] == narrow["distill.layer_weights.*"]


@pytest.mark.parametrize("dataset", ["digits", "mnist", "mhist"])
def test_three_variants_have_the_values_of_their_sources(dataset):
    made = {
        name: configure(Request("datadam", dataset, 1, "course", variant=name))
        for name in ("paper", "official-code", "course")
    }
    distill = {name: config.distill for name, config in made.items()}
    assert [distill[name].attention_power for name in made] == [4, 1, 4]
    assert [distill[name].loss_scale for name in made] == [1, 100, 1]
    assert [made[name].model.norm for name in made] == ["instance", "batch", "instance"]
    assert [distill[name].model_steps for name in made] == [0, 0, 50]
    assert [distill[name].iterations_per_network for name in made] == [1, 1, 10]
    assert distill["course"].image_lr == 0.1
    assert distill["course"].num_iterations == (2000 if dataset == "mhist" else 1000)
    assert len({config.digest for config in made.values()}) == 3


def test_a_name_alone_does_not_change_the_digest():
    plain = configure(Request("datadam", "digits", 1, "smoke"))
    named = plain.model_copy(update={"variant": "mine"})
    assert named.digest == plain.digest


def test_an_unknown_variant_lists_the_choices():
    with pytest.raises(UnknownNameError, match=r"unknown variant 'papr'\. Did you mean 'paper'"):
        configure(Request("datadam", "digits", 1, "smoke", variant="papr"))
    with pytest.raises(UnknownNameError, match="unknown variant 'paper'"):
        configure(Request("random", "digits", 1, "smoke", variant="paper"))


def test_weights_are_recorded_as_parameters_and_as_bars(tmp_path):
    root = tmp_path / "mlruns"
    config = configure(Request("datadam", "digits", 1, "smoke"))
    result = tune(config, StoreOptions(root=root))
    tracker = open_tracking(StoreOptions(root=root))
    runs = tracker.find_runs(tags={"study.search": result.search})
    trials = [run for run in runs if run.tags["study.kind"] == "trial"]
    assert len(trials) == 2
    for run in trials:
        weights = [float(run.params[f"layer_weight.{layer}"]) for layer in (1, 2)]
        assert sum(weights) == pytest.approx(2, abs=1e-5)
    assert {run.params["layer_weight.1"] for run in trials} > {"1.0"}
    for run in runs:
        path = tracker.download(run.run_id, "layer_weights.png", tmp_path / run.run_id)
        with Image.open(path) as bars:
            assert bars.size[0] > 100
