from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from study.core.errors import ConfigError, ShapeError
from study.data.augment import AugmentationConfig, augment, draw
from study.methods.trajectories.adjoint import StudentGradients, student_gradients
from study.methods.trajectories.losses import trajectory_matching_loss
from study.methods.trajectories.student import StudentStep, plan_steps, step_gradient
from study.models.flat_params import flatten_parameters, forward_flat
from study.models.pool import ModelConfig, Network, build_model

SHAPE = (2, 8, 8)
NUM_CLASSES = 3
NUM_IMAGES = 6
AUGMENTATION = AugmentationConfig(strategy="color_crop_cutout_flip_scale_rotate")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


class Problem:
    """A tiny student whose steps show images twice, within a step and again in later ones."""

    def __init__(self, num_steps: int, *, soft: bool = True, own_sizes: bool = False, norm: str = "instance"):
        config = ModelConfig(depth=2, width=8, norm=norm)  # type: ignore[arg-type]
        self.network: Network = build_model(config, SHAPE, NUM_CLASSES, generator(0)).double()
        self.images = random(NUM_IMAGES, *SHAPE, seed=1)
        self.labels = random(NUM_IMAGES, NUM_CLASSES, seed=2) if soft else torch.arange(NUM_IMAGES) % 3
        sizes = [0.3 + 0.1 * index for index in range(num_steps)] if own_sizes else 0.4
        self.step_sizes = torch.tensor(sizes, dtype=torch.float64)
        self.start = flatten_parameters(self.network)
        self.target = self.start + 0.1 * random(len(self.start), seed=3)
        self.steps = []
        for index in range(num_steps):
            record = draw(AUGMENTATION, 5, SHAPE, generator(10 + index), shared_op=True)
            chosen = torch.randint(NUM_IMAGES, (4,), generator=generator(20 + index))
            self.steps.append(StudentStep(torch.cat([chosen, chosen[:1]]), record))

    def matching(self, end: Tensor) -> Tensor:
        return trajectory_matching_loss(end, self.target, self.start, discard_fraction=0.25)

    def classification(self, end: Tensor) -> Tensor:
        real = random(7, *SHAPE, seed=30)
        return functional.cross_entropy(forward_flat(self.network, end, real), torch.arange(7) % 3)

    def gradients(self, objective: Callable[[Tensor], Tensor] | None = None, **how: Any) -> StudentGradients:
        return student_gradients(
            self.network,
            self.images,
            self.labels,
            self.step_sizes,
            self.start,
            self.steps,
            objective or self.matching,
            **how,
        )

    def loss(self, objective: Callable[[Tensor], Tensor], **changed: Tensor) -> Tensor:
        """The whole thing once more, as one would first write it."""
        images, labels = changed.get("images", self.images), changed.get("labels", self.labels)
        step_sizes = changed.get("step_sizes", self.step_sizes)
        flat = self.start.clone().requires_grad_()
        for index, step in enumerate(self.steps):
            pixels = torch.stack([images[place] for place in step.indices.tolist()])
            logits = forward_flat(self.network, flat, augment(pixels, step.record))
            seen = labels[step.indices]
            loss = functional.cross_entropy(logits, seen.softmax(1) if seen.ndim == 2 else seen)
            (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
            flat = flat - (step_sizes[index] if step_sizes.ndim else step_sizes) * gradient
        return objective(flat)

    def plain_gradients(self, objective: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        learned = {"images": self.images.clone(), "step_sizes": self.step_sizes.clone()}
        if self.labels.ndim == 2:
            learned["labels"] = self.labels.clone()
        for value in learned.values():
            value.requires_grad_()
        loss = self.loss(objective, **learned)
        return dict(zip(learned, torch.autograd.grad(loss, list(learned.values())), strict=True))


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    assert float(expected.norm()) > 0
    return float((found - expected).norm() / expected.norm())


def largest_difference(found: StudentGradients, expected: dict[str, Tensor]) -> float:
    return max(relative(getattr(found, name), value) for name, value in expected.items())


@pytest.mark.parametrize("backward", ["adjoint", "unroll"])
@pytest.mark.parametrize("objective", ["matching", "classification"])
@pytest.mark.parametrize(("soft", "own_sizes"), [(True, False), (True, True), (False, True)])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_equals_the_gradient_of_the_plain_loop(num_steps, soft, own_sizes, objective, backward) -> None:
    problem = Problem(num_steps, soft=soft, own_sizes=own_sizes)
    final = getattr(problem, objective)
    found = problem.gradients(final, backward=backward)
    assert float(found.loss) == pytest.approx(float(problem.loss(final).detach()), rel=1e-12)
    assert (found.labels is None) != soft
    assert largest_difference(found, problem.plain_gradients(final)) < 1e-8


@pytest.mark.parametrize("norm", ["instance", "group", "layer", "none"])
@pytest.mark.parametrize("chunk_size", [1, 2, 4, 50])
def test_chunks_change_rounding_alone(chunk_size: int, norm: str) -> None:
    problem = Problem(3, own_sizes=True, norm=norm)
    whole, chunked = problem.gradients(), problem.gradients(chunk_size=chunk_size)
    expected = {name: getattr(whole, name) for name in ("loss", "end", "images", "labels", "step_sizes")}
    assert largest_difference(chunked, expected) < 1e-10


def test_finite_differences_of_a_pixel_a_label_logit_and_the_step_size() -> None:
    problem = Problem(3)
    found = problem.gradients()
    assert found.labels is not None
    shown = int(problem.steps[1].indices[0])
    places: list[tuple[str, Tensor, tuple[int, ...]]] = [
        ("images", found.images, (shown, 1, 3, 4)),
        ("labels", found.labels, (shown, 2)),
        ("step_sizes", found.step_sizes, ()),
    ]
    for name, gradient, place in places:
        losses = []
        for sign in (1, -1):
            value = getattr(problem, name).clone()
            value[place] += sign * 1e-5
            losses.append(float(problem.loss(problem.matching, **{name: value}).detach()))
        slope = (losses[0] - losses[1]) / 2e-5
        assert slope != 0
        assert float(gradient[place]) == pytest.approx(slope, rel=1e-5), name


def test_tesla_is_exact_for_one_step_and_not_for_three() -> None:
    one, three = Problem(1), Problem(3)
    assert largest_difference(one.gradients(backward="tesla"), one.plain_gradients(one.matching)) < 1e-8
    approximate, exact = three.gradients(backward="tesla"), three.plain_gradients(three.matching)
    for name, expected in exact.items():
        assert relative(getattr(approximate, name), expected) > 1e-2, name


def test_tesla_is_the_published_formula() -> None:
    problem = Problem(3)
    problem.matching = lambda end: trajectory_matching_loss(end, problem.target, problem.start)  # type: ignore[method-assign]
    size, target, visited = problem.step_sizes, problem.target, [problem.start]
    for step in problem.steps:
        pixels, labels = augment(problem.images[step.indices], step.record), problem.labels[step.indices]
        gradient = step_gradient(problem.network, visited[-1], pixels, labels.softmax(1)) / len(labels)
        visited.append(visited[-1] - size * gradient)
    total = (problem.start - visited[-1]) / size
    factor = 2 / (problem.start - target).square().sum()
    direction = factor * (size * (target - problem.start) + size**2 * total)
    images = problem.images.clone().requires_grad_()
    approximate = torch.zeros_like(images)
    for flat, step in zip(visited[:-1], problem.steps, strict=True):
        flat = flat.clone().requires_grad_()
        logits = forward_flat(problem.network, flat, augment(images[step.indices], step.record))
        loss = functional.cross_entropy(logits, problem.labels[step.indices].softmax(1))
        (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
        approximate += torch.autograd.grad(direction @ gradient, images)[0]
    assert relative(problem.gradients(backward="tesla").images, approximate) < 1e-10


@pytest.mark.parametrize("backward", ["adjoint", "unroll", "tesla"])
def test_a_student_that_does_not_move_has_loss_one(backward) -> None:
    still = Problem(0)
    found = still.gradients(backward=backward)
    assert float(found.loss) == 1
    assert not found.images.any()
    frozen = Problem(3)
    frozen.step_sizes = torch.zeros((), dtype=torch.float64)
    found = frozen.gradients(backward=backward)
    assert float(found.loss) == 1
    assert not found.images.any()
    assert float(found.step_sizes) != 0


def test_loss_is_zero_at_the_target_and_the_expert_may_be_the_student() -> None:
    problem = Problem(3)
    problem.target = problem.gradients().end
    found = problem.gradients()
    assert float(found.loss) == 0
    assert not found.images.any()


@pytest.mark.parametrize("backward", ["adjoint", "unroll", "tesla"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_inputs_and_network_are_left_unchanged(backward, norm) -> None:
    problem = Problem(2, norm=norm)
    inputs = [problem.images, problem.labels, problem.step_sizes, problem.start, problem.target]
    inputs += [*problem.network.parameters(), *problem.network.buffers()]
    before = [value.detach().clone() for value in inputs]
    problem.images.requires_grad_()
    found = problem.gradients(backward=backward)
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))
    assert problem.images.grad is None
    assert all(parameter.grad is None for parameter in problem.network.parameters())
    for value in (found.loss, found.end, found.images, found.labels, found.step_sizes):
        assert value is not None
        assert not value.requires_grad


def test_batch_norm_in_training_mode_equals_the_plain_loop_but_cannot_be_chunked() -> None:
    problem = Problem(2, norm="batch")
    found = problem.gradients()
    assert largest_difference(found, problem.plain_gradients(problem.matching)) < 1e-8
    with pytest.raises(ConfigError, match="batch norm looks across images"):
        problem.gradients(chunk_size=2)


def test_the_same_plan_gives_the_same_bits() -> None:
    problem = Problem(2)
    problem.steps = list(plan_steps(NUM_IMAGES, 2, 4, AUGMENTATION, SHAPE, generator(8)))
    one = problem.gradients(chunk_size=2)
    problem.steps = list(plan_steps(NUM_IMAGES, 2, 4, AUGMENTATION, SHAPE, generator(8)))
    other = problem.gradients(chunk_size=2)
    for name in ("loss", "end", "images", "labels", "step_sizes"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def saved_bytes(problem: Problem, **how: Any) -> int:
    """Most bytes that autograd holds at once for backward passes, shared storages counted once."""
    held: dict[int, list[int]] = {}
    peak = 0

    class Token:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal peak
            self.tensor = tensor
            storage = tensor.untyped_storage()
            self.key = storage.data_ptr()
            entry = held.setdefault(self.key, [storage.nbytes(), 0])
            entry[1] += 1
            peak = max(peak, sum(size for size, _ in held.values()))

        def __del__(self) -> None:
            held[self.key][1] -= 1
            if not held[self.key][1]:
                del held[self.key]

    with saved_tensors_hooks(Token, lambda token: token.tensor):
        problem.gradients(**how)
    assert not held
    return peak


def test_memory_is_that_of_one_step() -> None:
    few, many = Problem(5), Problem(40)
    assert saved_bytes(many) <= 1.2 * saved_bytes(few)
    assert saved_bytes(many) <= 0.25 * saved_bytes(many, backward="unroll")
    assert saved_bytes(many, backward="tesla") <= saved_bytes(many)


def test_memory_shrinks_with_the_chunk() -> None:
    problem = Problem(2)
    assert saved_bytes(problem, chunk_size=1) < 0.5 * saved_bytes(problem)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"backward": "checkpoint"}, "adjoint, unroll, tesla"),
        ({"chunk_size": 0}, "at least 1"),
        ({"chunk_size": 2, "backward": "unroll"}, "keeps all graphs"),
    ],
)
def test_unknown_and_useless_choices_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Problem(1).gradients(**how)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", torch.zeros(NUM_IMAGES - 1, NUM_CLASSES, dtype=torch.float64)),
        ("labels", torch.zeros(NUM_IMAGES, dtype=torch.float64)),
        ("step_sizes", torch.zeros(3, dtype=torch.float64)),
        ("start", torch.zeros(7, dtype=torch.float64)),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, value: Tensor) -> None:
    problem = Problem(2)
    setattr(problem, name, value)
    with pytest.raises(ShapeError, match=r"expected|needs"):
        problem.gradients()


@pytest.mark.gpu
@pytest.mark.parametrize("how", [{}, {"chunk_size": 2}, {"backward": "unroll"}, {"backward": "tesla"}])
def test_gradients_on_cuda_are_those_on_the_cpu(how: dict[str, Any], cuda: torch.device) -> None:
    here, there = Problem(3), Problem(3)
    there.network.to(cuda)
    for name in ("images", "labels", "step_sizes", "start", "target"):
        setattr(there, name, getattr(there, name).to(cuda))
    expected, found = here.gradients(**how), there.gradients(**how)
    for name in ("loss", "end", "images", "labels", "step_sizes"):
        assert getattr(found, name).device.type == "cuda"
        # Float64 throughout: only the order of sums differs.
        torch.testing.assert_close(getattr(found, name).cpu(), getattr(expected, name), rtol=1e-8, atol=1e-10)
