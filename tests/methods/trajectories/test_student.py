from __future__ import annotations

import pytest
import torch
from torch import Tensor

from study.core.errors import ConfigError, ShapeError
from study.data.augment import AugmentationConfig, draw
from study.methods.trajectories.student import (
    StudentStep,
    ordered_steps,
    plan_steps,
    step_adjoint,
    step_gradient,
    step_loss,
)
from study.models.flat_params import flatten_parameters
from study.models.network import mixes_images
from study.models.pool import ModelConfig, Network, build_model

SHAPE = (2, 8, 8)
ALL = AugmentationConfig(strategy="color_crop_cutout_flip_scale_rotate")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build_network(norm: str = "instance") -> Network:
    config = ModelConfig(depth=2, width=8, norm=norm)  # type: ignore[arg-type]
    return build_model(config, SHAPE, 3, generator()).double()


def build_batch(num: int = 5) -> tuple[Tensor, Tensor]:
    source = generator(1)
    images = torch.randn(num, *SHAPE, dtype=torch.float64, generator=source)
    return images, torch.randn(num, 3, dtype=torch.float64, generator=source).softmax(1)


def indices_of(steps: tuple[StudentStep, ...]) -> list[list[int]]:
    return [step.indices.tolist() for step in steps]


def test_each_permutation_gives_every_image_once_and_its_remainder_comes_first() -> None:
    steps = indices_of(plan_steps(7, 6, 3, ALL, SHAPE, generator()))
    assert [len(step) for step in steps] == [1, 3, 3, 1, 3, 3]
    first, second = ([index for step in part for index in step] for part in (steps[:3], steps[3:]))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


@pytest.mark.parametrize("batch_size", [None, 4, 9])
def test_a_batch_of_the_whole_set_keeps_its_order(batch_size: int | None) -> None:
    assert indices_of(plan_steps(4, 2, batch_size, ALL, SHAPE, generator())) == [[0, 1, 2, 3]] * 2


def test_a_plan_repeats_from_its_seed_and_draws_one_operation_a_step() -> None:
    once, again = (plan_steps(6, 8, 4, ALL, SHAPE, generator(3)) for _ in range(2))
    assert indices_of(once) == indices_of(again)
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a.record.uniform, b.record.uniform)
        assert a.record.chosen == b.record.chosen
        assert len(a.record.chosen) == 1
        assert a.record.num_draws == len(a.indices)
        assert len(a.record.uniform.unique(dim=0)) == len(a.indices)
    assert len({step.record.chosen for step in once}) > 1
    assert indices_of(once) != indices_of(plan_steps(6, 8, 4, ALL, SHAPE, generator(4)))


def test_ordered_steps_keep_their_order_and_draw_nothing() -> None:
    drawn, untouched = generator(), generator()
    steps = ordered_steps([torch.tensor([0, 2]), torch.tensor([1, 3, 1])], SHAPE, drawn)
    assert indices_of(steps) == [[0, 2], [1, 3, 1]]
    assert torch.equal(drawn.get_state(), untouched.get_state())
    images = torch.rand(3, *SHAPE)
    assert torch.equal(steps[1].augmented(images, slice(0, 3)), images)


@pytest.mark.parametrize(("num_images", "num_steps", "batch_size"), [(0, 1, None), (3, -1, None), (3, 1, 0)])
def test_impossible_plans_are_refused(num_images: int, num_steps: int, batch_size: int | None) -> None:
    with pytest.raises(ConfigError, match="at least"):
        plan_steps(num_images, num_steps, batch_size, ALL, SHAPE, generator())


def test_a_step_needs_one_draw_an_index() -> None:
    record = draw(ALL, 2, SHAPE, generator(), shared_op=True)
    with pytest.raises(ShapeError, match="2 augmentation draws"):
        StudentStep(torch.tensor([0, 1, 2]), record)


@pytest.mark.parametrize("operation", ALL.operations)
def test_chunks_show_the_same_pixels_as_the_whole_step(operation: str) -> None:
    images, _ = build_batch(7)
    record = draw(AugmentationConfig(strategy=operation), 7, SHAPE, generator(), shared_op=True)
    step = StudentStep(torch.arange(7), record)
    assert [len(range(7)[places]) for places in step.chunks(3)] == [3, 3, 1]
    (whole,) = step.chunks(None)
    pieces = [step.augmented(images[places], places) for places in step.chunks(3)]
    assert torch.equal(torch.cat(pieces), step.augmented(images, whole))
    assert not torch.equal(step.augmented(images, whole), images)


def test_parts_of_a_batch_add_up_to_its_cross_entropy() -> None:
    network, (images, targets) = build_network(), build_batch()
    flat = flatten_parameters(network)
    expected = torch.nn.functional.cross_entropy(network(images), targets, reduction="sum")
    parts = [step_loss(network, flat, images[a:b], targets[a:b]) for a, b in ((0, 2), (2, 5))]
    assert torch.allclose(parts[0] + parts[1], expected, rtol=1e-12)
    gradient = step_gradient(network, flat, images, targets)
    grads = torch.autograd.grad(expected, list(network.parameters()))
    assert torch.allclose(gradient, torch.cat([grad.reshape(-1) for grad in grads]), rtol=1e-10)


def test_the_adjoint_of_a_step_follows_finite_differences() -> None:
    network, (images, targets) = build_network(), build_batch()
    flat = flatten_parameters(network)
    adjoint = torch.randn(flat.shape, dtype=flat.dtype, generator=generator(5))

    def product(flat: Tensor, images: Tensor, targets: Tensor) -> float:
        return float(step_gradient(network, flat, images, targets) @ adjoint)

    s, *derivatives = step_adjoint(network, flat, adjoint, images, targets)
    assert float(s) == pytest.approx(product(flat, images, targets), rel=1e-12)
    here = [flat, images, targets]
    for place, derivative in zip((0, 1, 2), (derivatives[2], derivatives[0], derivatives[1]), strict=True):
        direction = torch.randn(here[place].shape, dtype=flat.dtype, generator=generator(6))
        ahead, behind = (
            [value + sign * 1e-6 * direction if at == place else value for at, value in enumerate(here)]
            for sign in (1, -1)
        )
        slope = (product(*ahead) - product(*behind)) / 2e-6
        assert derivative is not None
        assert float((derivative * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_only_what_is_wanted_is_returned() -> None:
    network, (images, targets) = build_network(), build_batch()
    flat = flatten_parameters(network)
    whole = step_adjoint(network, flat, flat, images, targets)
    part = step_adjoint(network, flat, flat, images, targets, to_targets=False, to_parameters=False)
    assert part[2] is part[3] is None
    assert torch.equal(part[1], whole[1])


def test_batch_norm_mixes_images_and_keeps_its_statistics() -> None:
    network, (images, targets) = build_network("batch"), build_batch()
    assert mixes_images(network)
    assert not any(mixes_images(build_network(norm)) for norm in ("instance", "group", "layer", "none"))
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    step_gradient(network, flatten_parameters(network), images, targets)
    assert before
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
