"""A student's run on synthetic images, and the exact gradient of its end in memory of one step.

Forwards, N steps of plain SGD leave N parameter vectors. Backwards, the adjoint λ, the derivative of the
final loss in the parameters, is carried from the last step to the first: each step is rebuilt, and one double
backward pass gives what it contributes. A step's gradient times λ is a sum over images, so where no norm
looks across images, both sweeps run in chunks of them and stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from study.core.errors import ConfigError
from study.methods.trajectories.compiled_step import CompiledStep
from study.methods.trajectories.student import StudentStep, check_fit, step_loss
from study.models.network import Network, mixes_images

Backward = Literal["adjoint", "unroll", "tesla"]


@dataclass(frozen=True, eq=False)
class StudentGradients:
    """The final loss of a student, its parameters ``end`` [D], and the loss's gradients, all detached.

    Attributes:
        images: [n, C, H, W].
        labels: [n, classes], in soft labels; None for hard ones.
        step_sizes: a scalar or [N].
    """

    loss: Tensor
    end: Tensor
    images: Tensor
    labels: Tensor | None
    step_sizes: Tensor


def student_gradients(
    network: Network,
    images: Tensor,
    labels: Tensor,
    step_sizes: Tensor,
    start: Tensor,
    steps: Sequence[StudentStep],
    objective: Callable[[Tensor], Tensor],
    *,
    backward: Backward = "adjoint",
    chunk_size: int | None = None,
    program: CompiledStep | None = None,
) -> StudentGradients:
    """Train a student for the given steps of plain SGD, and differentiate a loss of its end.

    A step is θ ← θ − β · gradient of the mean cross-entropy.

    Args:
        network: gives the architecture; it is left unchanged.
        images: [n, C, H, W] synthetic images in normalised space.
        labels: [n, classes] raw logits of soft labels, which are learned, or [n] int64 hard ones.
        step_sizes: β, a scalar shared by all steps, or [N], one a step.
        start: [D] parameters to set out from.
        steps: from :func:`study.methods.trajectories.student.plan_steps`.
        objective: takes the final parameters [D] to a scalar, which may depend on nothing else learned.
        backward: ``adjoint`` is exact; ``unroll`` keeps the graph of all steps and gives the same; ``tesla``
            holds the adjoint fixed, and so omits every step's effect on the later ones.
        chunk_size: images worked on at once, to bound memory; results change by rounding alone.
        program: made of this network, where steps may be compiled; ``unroll`` has no use for it.

    Raises:
        ConfigError: ``backward`` is unknown, or chunks are asked of batch norm or of ``unroll``.
        ShapeError: images, labels, step sizes, start and steps do not fit together.

    Source: Cui et al. 2023 (TESLA) for the approximation; the exact recursion is that of Wang et al. 2018
        (DD), here with labels, step sizes and chunks.
    """
    check_fit(network, images, labels, step_sizes, start, len(steps))
    _check_choice(network, backward, chunk_size)
    images, labels, step_sizes = images.detach(), labels.detach(), step_sizes.detach()
    targets = _probabilities(network, labels)
    run = _Run(program or CompiledStep(network), images, targets, step_sizes, steps, chunk_size)
    if backward == "unroll":
        return _unroll(run, labels, start.detach(), objective)
    visited, end = run.forwards(start.detach())
    end.requires_grad_()
    with torch.enable_grad():
        loss = objective(end)
    (adjoint,) = torch.autograd.grad(loss, end)
    to_images, to_targets, to_step_sizes = run.backwards(
        visited, adjoint, soft=labels.ndim == 2, recursive=backward == "adjoint"
    )
    to_labels = None
    if to_targets is not None:
        # Every step shares the softmax of the labels, so it is differentiated once.
        logits = labels.requires_grad_()
        with torch.enable_grad():
            probabilities = logits.softmax(1)
        (to_labels,) = torch.autograd.grad(probabilities, logits, to_targets)
    return StudentGradients(loss.detach(), end.detach(), to_images, to_labels, to_step_sizes)


@dataclass(frozen=True, eq=False)
class _Run:
    """What both sweeps over the steps share; ``targets`` are probabilities [n, classes]."""

    program: CompiledStep
    images: Tensor
    targets: Tensor
    step_sizes: Tensor
    steps: Sequence[StudentStep]
    chunk_size: int | None

    def forwards(self, flat: Tensor) -> tuple[list[Tensor], Tensor]:
        """Parameters [D] before each step, and after the last one."""
        visited = []
        for index, step in enumerate(self.steps):
            visited.append(flat)
            gradient: list[Tensor] = []
            for places in step.chunks(self.chunk_size):
                chosen = step.indices[places].to(self.images.device, non_blocking=True)
                pixels = step.augmented(self.images[chosen], places)
                _add(gradient, self.program.gradient(flat, pixels, self.targets[chosen]))
            share = _size_of(self.step_sizes, index) / len(step.indices)
            flat = torch.addcmul(flat, gradient[0], share, value=-1)
        return visited, flat.clone()

    def backwards(
        self, visited: Sequence[Tensor], adjoint: Tensor, *, soft: bool, recursive: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """From the last step to the first; derivatives in images, target probabilities and step sizes."""
        to_images, to_step_sizes = torch.zeros_like(self.images), torch.zeros_like(self.step_sizes)
        to_targets = torch.zeros_like(self.targets) if soft else None
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            share = _size_of(self.step_sizes, index) / len(step.indices)
            # The derivative in the very first parameters is nobody's, but not worth compiling once more.
            carries_on = recursive and (index > 0 or self.program.size is not None)
            carried: list[Tensor] = []
            for places in step.chunks(self.chunk_size):
                chosen = step.indices[places].to(self.images.device, non_blocking=True)
                leaf = self.images[chosen].requires_grad_()
                with torch.enable_grad():
                    pixels = step.augmented(leaf, places)
                product, to_pixels, to_chosen, to_flat = self.program.adjoint(
                    visited[index], adjoint, pixels, self.targets[chosen],
                    soft, carries_on,
                )  # fmt: skip
                (to_leaf,) = torch.autograd.grad(pixels, leaf, to_pixels)
                to_images.index_add_(0, chosen, to_leaf * -share)
                if to_targets is not None and to_chosen is not None:
                    to_targets.index_add_(0, chosen, to_chosen * -share)
                _size_of(to_step_sizes, index).sub_(product / len(step.indices))
                _add(carried, to_flat)
            for total in carried:
                adjoint = torch.addcmul(adjoint, total, share, value=-1)
        return to_images, to_targets, to_step_sizes


def _unroll(
    run: _Run, labels: Tensor, flat: Tensor, objective: Callable[[Tensor], Tensor]
) -> StudentGradients:
    """The graph of all steps at once."""
    network, images, step_sizes, soft = run.program.network, run.images, run.step_sizes, labels.ndim == 2
    learned = [images, step_sizes, labels][: 3 if soft else 2]
    for tensor in learned:
        tensor.requires_grad_()
    flat.requires_grad_()
    with torch.enable_grad():
        targets = _probabilities(network, labels)
        for index, step in enumerate(run.steps):
            chosen = step.indices.to(images.device, non_blocking=True)
            pixels = step.augmented(images[chosen], slice(0, len(chosen)))
            loss = step_loss(network, flat, pixels, targets[chosen]) / len(chosen)
            (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
            flat = flat - _size_of(step_sizes, index) * gradient
        loss = objective(flat)
    found = torch.autograd.grad(loss, learned, materialize_grads=True)
    return StudentGradients(loss.detach(), flat.detach(), found[0], found[2] if soft else None, found[1])


def _add(total: list[Tensor], part: Tensor | None) -> None:
    """Add a chunk's part to a total of none or one tensor, in place."""
    if part is not None:
        total[:] = [total[0].add_(part)] if total else [part]


def _probabilities(network: Network, labels: Tensor) -> Tensor:
    """Target probabilities [n, classes] of soft or hard labels."""
    if labels.ndim == 2:
        return labels.softmax(1)
    return functional.one_hot(labels, network.num_classes).to(next(network.parameters()).dtype)


def _size_of(step_sizes: Tensor, index: int) -> Tensor:
    """The step size of one step, a view."""
    return step_sizes if step_sizes.ndim == 0 else step_sizes[index]


def _check_choice(network: Network, backward: str, chunk_size: int | None) -> None:
    if backward not in get_args(Backward):
        raise ConfigError(f"backward = {backward!r}: choose one of {', '.join(get_args(Backward))}")
    if chunk_size is None:
        return
    if chunk_size < 1:
        raise ConfigError(f"chunk_size = {chunk_size}: must be at least 1")
    if backward == "unroll":
        raise ConfigError(f"chunk_size = {chunk_size}: unroll keeps all graphs, so chunks would save nothing")
    if mixes_images(network):
        raise ConfigError(
            f"chunk_size = {chunk_size}: batch norm looks across images, so a step cannot be cut into chunks; "
            "use norm instance, group, layer or none"
        )
