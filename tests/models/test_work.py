"""Counted work against counts by hand, and against torch's counter on real tensors."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import Compute
from study.models.pool import MODELS, ModelConfig, build_model
from study.models.work import expected_seconds, work_of, work_of_model, worth_compiling

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


def test_expected_time_is_work_at_a_nominal_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    low, high = Compute(CPU, torch.bfloat16), Compute(CPU)
    assert expected_seconds("evaluation", low, 1e9, 200) == pytest.approx(2.0)
    assert expected_seconds("features", high, 7e10, 10) == pytest.approx(2.5)
    assert expected_seconds("features", low, 7e10, 10) == pytest.approx(7 / 6)
    assert expected_seconds("student", high, 5e8, 100) == pytest.approx(100 * (0.01 + 0.005))
    assert expected_seconds("student", Compute(torch.device("cuda")), 2e11, 100) == pytest.approx(1.5)


@pytest.mark.parametrize(("loop", "seconds"), [("evaluation", 90), ("features", 90), ("student", 30)])
def test_longer_loops_are_compiled(loop: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.core.device.compiler_available", lambda device: True)
    auto = Compute(CPU, compile="auto")
    steps = seconds / expected_seconds(loop, auto, 1e9, 1)  # type: ignore[arg-type]
    assert not worth_compiling(loop, auto, 1e9, int(0.99 * steps))  # type: ignore[arg-type]
    assert worth_compiling(loop, auto, 1e9, int(1.01 * steps) + 1)  # type: ignore[arg-type]
    assert worth_compiling(loop, Compute(CPU, compile="on"), 1, 1)  # type: ignore[arg-type]
