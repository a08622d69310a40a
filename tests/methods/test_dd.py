"""DD: exact gradients through a schedule, step sizes that stay positive, and networks that are fresh or fixed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn import functional

from study.core.errors import ConfigError, DivergedError
from study.core.seeding import Generators
from study.methods import dd
from study.methods.dd import DDConfig, LearnedStepSchedule, classification_loss, mini_sets
from study.methods.trajectories.adjoint import StudentGradients, student_gradients
from study.methods.trajectories.student import ordered_steps
from study.models.flat_params import flatten_parameters, forward_flat
from study.models.pool import ModelConfig, build_model

Factory = Callable[..., Any]


def build_learned(num_steps: int = 3, **settings: Any) -> LearnedStepSchedule:
    """Three images of three classes."""
    images = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    order = mini_sets(3, 1, num_steps)
    return LearnedStepSchedule(DDConfig(**settings), images, torch.arange(3), ("a", "b", "c"), order, None)


def run_of(learned: LearnedStepSchedule, *, images: float, step_sizes: float) -> StudentGradients:
    """A student's run with these gradients everywhere."""
    return StudentGradients(
        loss=torch.tensor(1.0),
        end=torch.zeros(1),
        images=torch.full_like(learned.pixels, images),
        labels=None,
        step_sizes=torch.full_like(learned.free, step_sizes),
    )


def test_a_mini_set_holds_one_image_of_each_class_and_all_take_turns() -> None:
    order = mini_sets(num_classes=3, ipc=2, num_epochs=2)
    assert order.tolist() == [[0, 2, 4], [1, 3, 5], [0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_the_backward_pass_is_that_of_the_unrolled_student(chunk_size: int | None) -> None:
    generator = torch.Generator().manual_seed(1)
    network = build_model(ModelConfig(depth=1, width=4), (1, 6, 6), 3, generator).double()
    images = torch.randn(6, 1, 6, 6, generator=generator, dtype=torch.float64)
    labels = torch.arange(3).repeat_interleave(2)
    sizes = torch.tensor([0.3, 0.1, 0.2], dtype=torch.float64)
    order = mini_sets(3, 2, 2)[:3]
    real = torch.randn(7, 1, 6, 6, generator=generator, dtype=torch.float64), torch.arange(7) % 3
    steps = ordered_steps(list(order), (1, 6, 6), generator)
    found = student_gradients(
        network, images, labels, sizes, flatten_parameters(network), steps,
        partial(classification_loss, network, *real, chunk_size=3), chunk_size=chunk_size,
    )  # fmt: skip

    pixels, rates = images.clone().requires_grad_(), sizes.clone().requires_grad_()
    flat = flatten_parameters(network).requires_grad_()
    for chosen, rate in zip(order, rates, strict=True):
        loss = functional.cross_entropy(forward_flat(network, flat, pixels[chosen]), labels[chosen])
        flat = flat - rate * torch.autograd.grad(loss, flat, create_graph=True)[0]
    final = functional.cross_entropy(forward_flat(network, flat, real[0]), real[1])
    to_pixels, to_rates = torch.autograd.grad(final, [pixels, rates])

    assert to_pixels.flatten(1).norm(dim=1).min() > 1e-6
    assert to_rates.abs().min() > 1e-6
    torch.testing.assert_close(found.loss, final.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.images, to_pixels, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.step_sizes, to_rates, rtol=1e-8, atol=1e-12)


def test_step_sizes_start_where_they_should_and_follow_the_gradient_of_softplus() -> None:
    learned = build_learned(step_size=0.02)
    torch.testing.assert_close(learned.step_sizes(), torch.full((3,), 0.02))
    free = learned.free.clone().requires_grad_()
    functional.softplus(free).sum().mul(7.0).backward()
    learned.descend([run_of(learned, images=0.0, step_sizes=7.0)], 1)
    torch.testing.assert_close(learned.free.grad, free.grad)
    assert (learned.step_sizes() < 0.02).all()


def test_step_sizes_stay_positive_wherever_the_gradient_drives_them() -> None:
    learned = build_learned(step_size_lr=200.0)
    for iteration in range(1, 11):
        progress = learned.descend([run_of(learned, images=0.0, step_sizes=1.0)], iteration)
        assert (progress.snapshot().schedule.step_sizes > 0).all()
    assert learned.free.max() < -110


def test_networks_are_averaged() -> None:
    one, two = build_learned(), build_learned()
    one.descend([run_of(one, images=2.0, step_sizes=3.0)], 1)
    two.descend([run_of(two, images=a, step_sizes=b) for a, b in ((1.0, 2.0), (3.0, 4.0))], 1)
    torch.testing.assert_close(one.pixels.grad, two.pixels.grad)
    torch.testing.assert_close(one.free.grad, two.free.grad)


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    learned = build_learned()
    with pytest.raises(DivergedError, match="step size"):
        learned.descend([run_of(learned, images=0.0, step_sizes=float("nan"))], 4)


def test_learning_rates_halve_every_tenth(monkeypatch: pytest.MonkeyPatch, toy_distill: Factory) -> None:
    factors: list[float] = []
    scale_rates = LearnedStepSchedule.scale_rates
    monkeypatch.setattr(
        LearnedStepSchedule,
        "scale_rates",
        lambda self, factor: (factors.append(factor), scale_rates(self, factor))[1],
    )
    toy_distill("dd", num_iterations=6, lr_decay=0.5, lr_decay_fraction=1 / 3)
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    learned = build_learned(image_lr=0.5, step_size_lr=0.25)
    before = learned.pixels.clone()
    learned.scale_rates(0.5)
    learned.descend([run_of(learned, images=1.0, step_sizes=0.0)], 1)
    torch.testing.assert_close(before - learned.pixels, torch.full_like(before, 0.25))


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The parameters that every student of a test sets out from."""
    seen: list[torch.Tensor] = []
    original = dd.student_gradients

    def spy(*arguments: Any, **settings: Any) -> StudentGradients:
        seen.append(arguments[4].clone())
        return original(*arguments, **settings)

    monkeypatch.setattr(dd, "student_gradients", spy)
    return seen


def test_random_networks_are_fresh_in_every_run_of_every_iteration(
    starts: list[torch.Tensor], toy_distill: Factory
) -> None:
    synthetic = toy_distill("dd", num_iterations=2, num_networks=2)[1]
    assert len({start.sum().item() for start in starts}) == len(starts) == 4
    assert synthetic.schedule.network_seed is None


def test_the_fixed_network_is_one_and_its_seed_goes_with_the_set(
    starts: list[torch.Tensor], toy_distill: Factory, toy_task: Factory
) -> None:
    task = toy_task()
    synthetic = toy_distill("dd", task=task, num_iterations=2, num_networks=2, network_init="fixed")[1]
    seed = synthetic.schedule.network_seed
    network = build_model(task.model, (1, 8, 8), 3, torch.Generator().manual_seed(seed))
    assert len(starts) == 2
    assert all(torch.equal(start, flatten_parameters(network)) for start in starts)
    assert toy_distill("dd", seed=1, network_init="fixed", num_iterations=0)[1].schedule.network_seed != seed


def test_a_fixed_network_classifies_better_and_better(toy_distill: Factory) -> None:
    everything, synthetic = toy_distill("dd", num_iterations=60, network_init="fixed")
    losses = [float(progress.losses["match/loss"]) for progress in everything[1:]]
    assert losses[-1] < 0.5 * losses[0], losses
    assert synthetic.schedule.step_sizes.std() > 1e-3


def test_the_set_carries_as_many_steps_as_images_a_class_times_passes(
    toy_distill: Factory, toy_task: Factory
) -> None:
    synthetic = toy_distill("dd", task=toy_task(ipc=3), num_distill_epochs=2, num_iterations=1)[1]
    assert torch.equal(synthetic.schedule.order, mini_sets(3, 3, 2))
    assert (synthetic.labels[synthetic.schedule.order] == torch.arange(3)).all()
    assert len(synthetic.schedule) == 6


def test_chunks_change_rounding_alone(monkeypatch: pytest.MonkeyPatch, toy_distill: Factory) -> None:
    whole = toy_distill("dd", num_iterations=2)[1]
    asked: list[int] = []
    monkeypatch.setattr(dd, "fitting_chunk", lambda network, shape, batch, most: (asked.append(batch), 2)[1])
    pieces = toy_distill("dd", num_iterations=2)[1]
    assert asked == [34, 3]
    torch.testing.assert_close(whole.images, pieces.images, atol=2e-3, rtol=1e-3)


def test_batch_norm_is_refused(toy_distill: Factory, toy_task: Factory) -> None:
    with pytest.raises(ConfigError, match="running statistics are no part of the schedule"):
        toy_distill("dd", task=toy_task(model=ModelConfig(depth=2, width=8, norm="batch")))


def test_the_published_values_are_the_defaults() -> None:
    config = DDConfig()
    assert (config.image_lr, config.step_size_lr, config.betas) == (0.01, 0.01, (0.5, 0.999))
    assert (config.step_size, config.num_distill_epochs, config.batch_real) == (0.02, 3, 1024)
    assert (config.lr_decay, config.lr_decay_fraction, config.init) == (0.5, 0.1, "noise")


def test_a_snapshot_keeps_its_schedule(toy_method: Factory, toy_task: Factory) -> None:
    progresses = toy_method("dd").distill(toy_task(), Generators(0))
    first = next(progresses).snapshot().schedule.step_sizes
    kept = first.clone()
    later = next(progresses).snapshot().schedule.step_sizes
    assert torch.equal(first, kept)
    assert not torch.equal(first, later)
