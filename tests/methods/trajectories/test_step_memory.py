from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from study.core.errors import ConfigError
from study.methods.trajectories.step_memory import LiveBytes, bytes_of_step, fitting_chunk
from study.methods.trajectories.student import step_adjoint
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, Network, build_model

SHAPE = (1, 8, 8)
MIB = 2**20


def build_network(shape: tuple[int, int, int] = SHAPE, width: int = 8, **variant: object) -> Network:
    config = ModelConfig.model_validate({"depth": 2, "width": width} | variant)
    return build_model(config, shape, 3, torch.Generator().manual_seed(0))


def test_live_bytes_follow_tensors_and_not_views() -> None:
    with LiveBytes() as live:
        first = torch.ones(100)
        assert live.now == live.peak == 400
        view = first.view(10, 10).T
        assert live.now == 400
        second = first + 1
        assert live.now == 800
        del first
        assert live.now == 800
        del view
        assert live.now == 400
        del second
    assert live.now == 0
    assert live.peak == 800


def test_counting_without_contents_equals_counting_a_real_step() -> None:
    network = build_network()
    with LiveBytes() as live:
        flat = flatten_parameters(network)
        pixels, targets = torch.randn(4, *SHAPE), torch.randn(4, 3).softmax(1)
        before = live.now
        step_adjoint(network, flat, flat, pixels, targets)
    counted = bytes_of_step(network, SHAPE, 4)
    assert counted == pytest.approx(live.peak, rel=0.1)
    assert counted > before
    assert next(network.parameters()).device.type == "cpu"


def test_memory_grows_with_images_and_resolution() -> None:
    network = build_network()
    one, two, four = (bytes_of_step(network, SHAPE, num) for num in (1, 2, 4))
    assert two > one
    assert four - two == pytest.approx(2 * (two - one), rel=0.2)
    assert bytes_of_step(build_network((1, 16, 16)), (1, 16, 16), 2) > 2 * two


def test_chunks_fit_the_limit_and_are_of_equal_size() -> None:
    network = build_network()
    limit = bytes_of_step(network, SHAPE, 7)
    assert fitting_chunk(network, SHAPE, 7, limit) is None
    chunk = fitting_chunk(network, SHAPE, 20, limit)
    assert chunk == 7
    assert fitting_chunk(network, SHAPE, 8, limit) == 4
    assert bytes_of_step(network, SHAPE, 7) <= limit < bytes_of_step(network, SHAPE, 8)


def test_a_convnet_for_224_pixels_and_100_images_fits_into_4_gib(
    set_room: Callable[[str, int], None],
) -> None:
    shape = (3, 224, 224)
    network = build_network(shape, 128, depth=7)
    assert bytes_of_step(network, shape, 100) > 16 * 1024 * MIB
    # Two images' largest map would be mapped anew each time it is allocated.
    assert fitting_chunk(network, shape, 100, 4096 * MIB) == 1
    set_room("student", 2**40)
    chunk = fitting_chunk(network, shape, 100, 4096 * MIB)
    assert chunk is not None
    assert 10 <= chunk < 50
    assert bytes_of_step(network, shape, chunk) <= 4096 * MIB


def test_batch_norm_is_not_cut_for_speed(set_room: Callable[[str, int], None]) -> None:
    set_room("student", 1)
    assert fitting_chunk(build_network(norm="batch"), SHAPE, 8, 4096 * MIB) is None
    assert fitting_chunk(build_network(), SHAPE, 8, 4096 * MIB) == 1


def test_what_cannot_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="one image does not fit into 0 MiB"):
        fitting_chunk(build_network(), SHAPE, 4, 1000)
    with pytest.raises(ConfigError, match="batch norm"):
        fitting_chunk(build_network(norm="batch"), SHAPE, 40, 100_000)
