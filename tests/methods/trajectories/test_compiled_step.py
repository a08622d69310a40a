from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from study.core.device import Compute, compiler_available
from study.core.errors import ConfigError
from study.core.programs import ProgramCache
from study.data.augment import AugmentationConfig
from study.methods.trajectories import compiled_step
from study.methods.trajectories.adjoint import StudentGradients, student_gradients
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.losses import trajectory_matching_loss
from study.methods.trajectories.student import plan_steps, step_adjoint, step_gradient
from study.models.flat_params import flatten_parameters
from study.models.pool import ModelConfig, Network, build_model

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build_network(norm: str = "instance") -> Network:
    config = ModelConfig(depth=1, width=4, norm=norm)  # type: ignore[arg-type]
    return build_model(config, SHAPE, 3, generator(0))


def build_inputs(network: Network, num: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    flat = flatten_parameters(network)
    adjoint = torch.randn(flat.shape, generator=generator(1))
    pixels = torch.randn(num, *SHAPE, generator=generator(2))
    return flat, adjoint, pixels, torch.randn(num, 3, generator=generator(3)).softmax(1)


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not compiled anything yet."""
    monkeypatch.setattr(compiled_step, "_compiled", ProgramCache(16, shared=True))
    yield
    torch._dynamo.reset()


def test_a_plain_program_is_the_step_itself() -> None:
    network = build_network()
    program, (flat, adjoint, pixels, targets) = CompiledStep(network), build_inputs(network, 3)
    assert torch.equal(program.gradient(flat, pixels, targets), step_gradient(network, flat, pixels, targets))
    done = program.adjoint(flat, adjoint, pixels, targets, to_targets=True, to_parameters=True)
    for one, other in zip(done, step_adjoint(network, flat, adjoint, pixels, targets), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_counted_work_decides_and_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.core.device.compiler_available", lambda device: True)
    program = CompiledStep(build_network())
    assert not program.compile_for(Compute(CPU, compile="auto"), 100, 10)
    assert not program.compile_for(Compute(CPU, compile="off"), 10**9, 10)
    assert program.size is None
    assert program.compile_for(Compute(CPU, compile="auto"), 10**6, 10)
    assert program.size == 10
    assert CompiledStep(build_network()).compile_for(Compute(CPU, compile="auto"), 5000, 10**5)
    assert not CompiledStep(build_network("batch")).compile_for(Compute(CPU, compile="on"), 10**6, 10)


@pytest.mark.usefixtures("no_programs")
def test_a_failing_compiler_leaves_plain_programs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no headers\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr("study.core.device.compiler_available", lambda device: True)
    network = build_network()
    flat, _, pixels, targets = build_inputs(network, 3)
    program = CompiledStep(network)
    program.compile_for(Compute(CPU, compile="auto"), 10**9, 3)
    with caplog.at_level(logging.WARNING):
        found = program.gradient(flat, pixels, targets)
    assert torch.equal(found, step_gradient(network, flat, pixels, targets))
    assert "compiling failed, going on without: no headers" in caplog.text
    assert program.size is None
    program.compile_for(Compute(CPU, compile="on"), 1, 3)
    with pytest.raises(ConfigError, match="compiling failed: no headers"):
        program.gradient(flat, pixels, targets)


@pytest.mark.usefixtures("no_programs")
@pytest.mark.skipif(not compiler_available(CPU), reason="no C++ compiler")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_steps_agree_repeat_and_are_shared(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    # The graphs are the same for both; ``aot_eager`` leaves out the C++ compiler, which takes half a minute.
    compilations, graphs = [], CompileCounterWithBackend(backend)
    original = torch.compile

    def compile_counted(*args: Any, **options: Any) -> Any:
        compilations.append(1)
        return original(*args, **options, backend=graphs)

    monkeypatch.setattr(torch, "compile", compile_counted)
    results: list[StudentGradients] = []
    for compiled in (False, True, True):
        network = build_network()
        program = CompiledStep(network)
        assert not compiled or program.compile_for(Compute(CPU, compile="on"), 1, 4)
        start = flatten_parameters(network)
        target = start + 0.1 * torch.randn(start.shape, generator=generator(4))
        config = AugmentationConfig(strategy="color_crop_cutout_flip_scale_rotate")
        # Two steps of four images in one chunk each, and one of two that runs plain.
        steps = plan_steps(6, 3, 4, config, SHAPE, generator(5))
        results.append(
            student_gradients(
                network,
                torch.randn(6, *SHAPE, generator=generator(6)),
                torch.randn(6, 3, generator=generator(7)),
                torch.tensor(0.1),
                start,
                steps,
                lambda end, target=target, start=start: trajectory_matching_loss(end, target, start),
                program=program,
            )
        )
        assert program.size == (4 if compiled else None)
    plain, once, again = results
    assert len(compilations) == 2, "one for each half of a step, shared by both networks"
    for name in ("loss", "end", "images", "labels", "step_sizes"):
        one, other = getattr(once, name), getattr(again, name)
        assert torch.equal(one, other), name
        reference = getattr(plain, name)
        assert float((one - reference).norm()) < 1e-4 * float(reference.norm()), name
    assert graphs.frame_count == 2, "each half is one graph"
    assert backend == "aot_eager" or not torch.equal(plain.images, once.images), "nothing was compiled"
