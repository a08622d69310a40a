"""Counted work against counts by hand, and against torch's counter on real tensors."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import Compute
from study.models.pool import MODELS, ModelConfig, build_model
from study.models.work import (
    NOMINAL_RATES,
    Load,
    Loop,
    expected_seconds,
    nominal_seconds,
    work_of,
    work_of_model,
    worth_compiling,
)

CPU = torch.device("cpu")


def test_of_an_mlp_it_is_that_of_its_matrices() -> None:
    work = work_of_model(ModelConfig(name="mlp", width=32, depth=2), (1, 8, 8), 10)
    layers = [64 * 32, 32 * 32, 32 * 10]
    assert work.forward_flops == 2 * sum(layers)
    assert work.embedding_flops == 2 * sum(layers[:2])
    # Backwards each weight gets a gradient, and each input but that of the first layer.
    assert work.training_flops == 2 * (3 * sum(layers) - layers[0])
    assert (work.largest_feature_map, work.all_feature_maps) == (64, 64 + 32)


def test_the_largest_map_of_a_convnet_is_the_first() -> None:
    work = work_of_model(ModelConfig(width=6, depth=2), (1, 16, 20), 10)
    assert work.largest_map == work.largest_feature_map == 6 * 16 * 20
    assert work.all_feature_maps == 6 * (16 * 20 + 8 * 10)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [False, True])
def test_shapes_count_as_real_tensors_do_and_the_network_is_left_as_it_was(name: str, training: bool) -> None:
    network = build_model(ModelConfig(name=name), (3, 32, 32), 10, torch.Generator()).train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    work = work_of(network)
    assert work == work_of_model(ModelConfig(name=name), (3, 32, 32), 10)
    assert work_of(network) is work, "it is counted once"
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.embed(torch.zeros(1, 3, 32, 32))
    assert counter.get_total_flops() == work.embedding_flops
    assert network.training is training
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_batch_norm_mixes_images() -> None:
    assert work_of_model(ModelConfig(width=4, norm="batch"), (1, 8, 8), 3).mixes_images
    assert not work_of_model(ModelConfig(width=4), (1, 8, 8), 3).mixes_images


def test_loads_add_up() -> None:
    work = work_of_model(ModelConfig(name="mlp", width=32, depth=2), (1, 8, 8), 10)
    assert work.activations == 4 * 32 + 10, "two layers with their activations, logits"
    assert work.training(5, 3) == Load(3, 15 * work.training_flops, 15 * work.activations)
    assert work.prediction(7) == Load(0, 7 * work.forward_flops, 7 * work.activations)
    assert work.features(4, 2) == Load(1, 10 * work.embedding_flops, 10 * work.activations)
    student = work.student(5, 2)
    assert student == Load(2, 12 * 10 * work.embedding_flops, 4 * 10 * work.activations)
    assert student + student == student * 2


@pytest.mark.parametrize("loop", NOMINAL_RATES)
def test_expected_time_is_work_at_a_nominal_rate(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    rate, load = NOMINAL_RATES[loop], Load(10, 3e12, 2e10)
    low, high = Compute(CPU, torch.bfloat16), Compute(CPU)

    def seconds(speed: float) -> float:
        return 10 * rate.overhead + (3e12 / rate.flops + 2e10 / rate.elements) / speed

    assert nominal_seconds({loop: load}) == pytest.approx(seconds(2))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert nominal_seconds({loop: load}) == pytest.approx(seconds(2)), "whatever machine this is"
    assert expected_seconds(loop, low, load) == pytest.approx(seconds(4))
    # A student's steps are float32 everywhere, and rated so.
    assert expected_seconds(loop, high, load) == pytest.approx(seconds(4 if loop == "student" else 1.6))
    assert expected_seconds(loop, Compute(torch.device("cuda")), load) == pytest.approx(seconds(60))


@pytest.mark.parametrize(("loop", "seconds"), [("evaluation", 120), ("features", 90), ("student", 300)])
def test_longer_loops_are_compiled(loop: Loop, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.core.device.compiler_available", lambda device: True)
    auto, step = Compute(CPU, compile="auto"), Load(1, 1e9, 1e6)
    steps = seconds / expected_seconds(loop, auto, step)
    assert not worth_compiling(loop, auto, step * (0.99 * steps))
    assert worth_compiling(loop, auto, step * (1.01 * steps))
    assert worth_compiling(loop, Compute(CPU, compile="on"), Load(1, 1))
