"""A student's run on synthetic images, and the exact gradient of its end in memory of one step.

Forwards, N steps of plain SGD leave N parameter vectors and nothing else. Backwards, the adjoint λ, the
derivative of the final loss in the parameters, is carried from the last step to the first; each step is
rebuilt from its stored parameters and its record, and one double backward pass gives everything that
step contributes. The inner product of a step's gradient with λ is a sum over images, so where no norm
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

__all__ = ["Backward", "StudentGradients", "StudentRun", "run_student", "student_gradients"]

Backward = Literal["adjoint", "unroll", "tesla"]


@dataclass(frozen=True, eq=False)
class StudentGradients:
    """The final loss of a student and its gradients, detached.

    Attributes:
        loss: scalar.
        end: [D], the student's parameters after its last step.
        images: [n, C, H, W], like the synthetic images.
        labels: [n, classes], like the soft labels; None for hard ones.
        step_sizes: like the step sizes, a scalar or [N].
    """

    loss: Tensor
    end: Tensor
    images: Tensor
    labels: Tensor | None
    step_sizes: Tensor


@dataclass(frozen=True, eq=False)
class StudentRun:
    """A finished run: where it ended, and what its backward pass needs.

    Attributes:
        program: how a step is computed; holds the student's architecture.
        images: [n, C, H, W], the synthetic images.
        labels: [n, classes] logits, or [n] int64.
        step_sizes: scalar, shared by all steps, or [N].
        steps: what each step saw.
        backward: how :meth:`gradients` is computed.
        chunk_size: images worked on at once, None for all of a step.
        visited: [D] parameters before each step; empty where the graph is kept instead.
        end: [D] parameters after the last step; apply the final loss to it.
    """

    program: CompiledStep
    images: Tensor
    labels: Tensor
    step_sizes: Tensor
    steps: tuple[StudentStep, ...]
    backward: Backward
    chunk_size: int | None
    visited: tuple[Tensor, ...]
    end: Tensor

    def gradients(self, loss: Tensor) -> StudentGradients:
        """Differentiate a final loss in images, soft labels and step sizes; once a run.

        Args:
            loss: scalar, computed from :attr:`end` with gradient. It may depend on nothing else that is
                learned.
        """
        if self.backward == "unroll":
            return self._unrolled_gradients(loss)
        (adjoint,) = torch.autograd.grad(loss, self.end)
        images, targets, step_sizes = self._sweep(adjoint)
        labels = None
        if targets is not None:
            # Every step shares the softmax of the labels, so it is differentiated once.
            logits = self.labels.detach().requires_grad_()
            with torch.enable_grad():
                probabilities = logits.softmax(1)
            (labels,) = torch.autograd.grad(probabilities, logits, targets)
        return StudentGradients(loss.detach(), self.end.detach(), images, labels, step_sizes)

    def _sweep(self, adjoint: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """From the last step to the first; derivatives in images, target probabilities and step sizes."""
        images, soft = self.images.detach(), self.labels.ndim == 2
        targets = _probabilities(self.program.network, self.labels.detach())
        to_images, to_step_sizes = torch.zeros_like(images), torch.zeros_like(self.step_sizes)
        to_targets = torch.zeros_like(targets) if soft else None
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            share = _size_of(self.step_sizes.detach(), index) / len(step.indices)
            # The derivative in the very first parameters is nobody's, but not worth compiling once more.
            carries_on = self.backward == "adjoint" and (index > 0 or self.program.size is not None)
            carried: list[Tensor] = []
            for places in step.chunks(self.chunk_size):
                chosen = step.indices[places].to(images.device, non_blocking=True)
                leaf = images[chosen].requires_grad_()
                with torch.enable_grad():
                    pixels = step.augmented(leaf, places)
                product, to_pixels, to_chosen, to_flat = self.program.adjoint(
                    self.visited[index],
                    adjoint,
                    pixels,
                    targets[chosen],
                    to_targets=soft,
                    to_parameters=carries_on,
                )
                (to_leaf,) = torch.autograd.grad(pixels, leaf, to_pixels)
                to_images.index_add_(0, chosen, to_leaf * -share)
                if to_targets is not None and to_chosen is not None:
                    to_targets.index_add_(0, chosen, to_chosen * -share)
                _size_of(to_step_sizes, index).sub_(product / len(step.indices))
                _add(carried, to_flat)
            for total in carried:
                adjoint = torch.addcmul(adjoint, total, share, value=-1)
        return to_images, to_targets, to_step_sizes

    def _unrolled_gradients(self, loss: Tensor) -> StudentGradients:
        soft = self.labels.ndim == 2
        wanted = [self.images, self.step_sizes, *([self.labels] if soft else [])]
        grads = torch.autograd.grad(loss, wanted, materialize_grads=True)
        labels = grads[2] if soft else None
        return StudentGradients(loss.detach(), self.end.detach(), grads[0], labels, grads[1])


def run_student(
    network: Network,
    images: Tensor,
    labels: Tensor,
    step_sizes: Tensor,
    start: Tensor,
    steps: Sequence[StudentStep],
    *,
    backward: Backward = "adjoint",
    chunk_size: int | None = None,
    program: CompiledStep | None = None,
) -> StudentRun:
    """Train a student for the given steps of plain SGD: θ ← θ − β · gradient of the mean cross-entropy.

    Args:
        network: gives the architecture; it is left unchanged. Batch norm uses the statistics of a step
            where the network is in training mode.
        images: [n, C, H, W] synthetic images in normalised space.
        labels: [n, classes] raw logits of soft labels, which are learned, or [n] int64 hard ones.
        step_sizes: β, a scalar shared by all steps, or [N], one a step.
        start: [D] parameters to set out from.
        steps: from :func:`study.methods.trajectories.student.plan_steps`.
        backward: ``adjoint`` is exact in the memory of one step and N vectors; ``unroll`` keeps the graph of
            all steps, the obvious way to the same gradient; ``tesla`` holds the adjoint fixed, which omits
            every step's effect on the later ones and is exact for one step only.
        chunk_size: images worked on at once, to bound memory; results change by rounding alone.
        program: made of this network, where steps may be compiled; ``unroll`` has no use for it.

    Returns:
        The run; apply a loss to its ``end`` and hand that to :meth:`StudentRun.gradients`.

    Raises:
        ConfigError: ``backward`` is unknown, or chunks are asked of batch norm or of ``unroll``.
        ShapeError: images, labels, step sizes, start and steps do not fit together.

    Source: Cui et al. 2023 (TESLA) for the approximation; the exact recursion is that of Wang et al. 2018
        (DD), here with labels, step sizes and chunks.
    """
    steps = tuple(steps)
    check_fit(network, images, labels, step_sizes, start, len(steps))
    _check_choice(network, backward, chunk_size)
    if backward == "unroll":
        return _unroll(network, images, labels, step_sizes, start, steps)
    program = program or CompiledStep(network)
    images, labels, step_sizes = images.detach(), labels.detach(), step_sizes.detach()
    targets = _probabilities(network, labels)
    flat, visited = start.detach(), []
    for index, step in enumerate(steps):
        visited.append(flat)
        gradient: list[Tensor] = []
        for places in step.chunks(chunk_size):
            chosen = step.indices[places].to(images.device, non_blocking=True)
            pixels = step.augmented(images[chosen], places)
            _add(gradient, program.gradient(flat, pixels, targets[chosen]))
        share = _size_of(step_sizes, index) / len(step.indices)
        flat = torch.addcmul(flat, gradient[0], share, value=-1)
    end = flat.detach().clone().requires_grad_()
    return StudentRun(program, images, labels, step_sizes, steps, backward, chunk_size, tuple(visited), end)


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
    """Run a student and differentiate a loss of its end: :func:`run_student` and its gradients in one call.

    Args:
        network: as in :func:`run_student`, and all others but one.
        images: [n, C, H, W].
        labels: [n, classes] or [n].
        step_sizes: scalar or [N].
        start: [D].
        steps: what each step sees.
        objective: takes the final parameters [D] to a scalar.
        backward: ``adjoint``, ``unroll`` or ``tesla``.
        chunk_size: images worked on at once.
        program: where steps may be compiled.
    """
    run = run_student(
        network,
        images,
        labels,
        step_sizes,
        start,
        steps,
        backward=backward,
        chunk_size=chunk_size,
        program=program,
    )
    with torch.enable_grad():
        loss = objective(run.end)
    return run.gradients(loss)


def _unroll(
    network: Network,
    images: Tensor,
    labels: Tensor,
    step_sizes: Tensor,
    start: Tensor,
    steps: tuple[StudentStep, ...],
) -> StudentRun:
    images, step_sizes = images.detach().requires_grad_(), step_sizes.detach().requires_grad_()
    labels = labels.detach().requires_grad_(labels.ndim == 2)
    flat = start.detach().requires_grad_()
    with torch.enable_grad():
        targets = _probabilities(network, labels)
        for index, step in enumerate(steps):
            whole = slice(0, len(step.indices))
            chosen = step.indices.to(images.device, non_blocking=True)
            pixels = step.augmented(images[chosen], whole)
            loss = step_loss(network, flat, pixels, targets[chosen]) / len(chosen)
            (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
            flat = flat - _size_of(step_sizes, index) * gradient
    return StudentRun(CompiledStep(network), images, labels, step_sizes, steps, "unroll", None, (), flat)


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
