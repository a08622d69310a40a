"""What a student does on synthetic images: which it sees in each step, how they look, and one step's gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from study.core.errors import ConfigError, ShapeError
from study.data.augment import AugmentationConfig, AugmentationRecord, augment, draw
from study.models.flat_params import num_parameters, unflatten_parameters
from study.models.network import Network


@dataclass(frozen=True, eq=False)
class StudentStep:
    """Everything random about one student step, so that it replays bit for bit.

    Attributes:
        indices: [b] int64, the synthetic images of this step; an image may occur again, here and elsewhere.
        record: one augmentation draw for each of the b places.
    """

    indices: Tensor
    record: AugmentationRecord

    def __post_init__(self) -> None:
        if self.indices.ndim != 1 or not len(self.indices) or len(self.indices) != self.record.num_draws:
            raise ShapeError(
                f"a student step has indices of shape {tuple(self.indices.shape)} and "
                f"{self.record.num_draws} augmentation draws; expected [b] with b >= 1 and one draw each"
            )

    def chunks(self, size: int | None) -> Iterator[slice]:
        """Consecutive places of at most ``size``; all at once for None."""
        length = len(self.indices)
        for start in range(0, length, size or length):
            yield slice(start, min(start + (size or length), length))

    def augmented(self, images: Tensor, places: slice) -> Tensor:
        """What the student sees of the images [k, C, H, W] in these k places, however they are cut."""
        return augment(images, self.record, torch.arange(places.start, places.stop))


def plan_steps(
    num_images: int,
    num_steps: int,
    batch_size: int | None,
    augmentation: AugmentationConfig,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
) -> tuple[StudentStep, ...]:
    """Draw the steps of one student: pieces of a random permutation, a fresh one when it is used up.

    A batch size of None, or of more images than there are, takes the whole set in its order. Every step draws
    one operation of augmentation, with parameters for each image. Raises ConfigError where there is no image,
    a negative number of steps, or a batch of none.

    Source: Cazenavette et al. 2022 (MTT). As in its code, a short remainder comes before the full pieces.
    """
    if num_images < 1 or num_steps < 0:
        raise ConfigError(f"{num_steps} student steps on {num_images} images: need at least 0 and 1")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"student batch size = {batch_size}: must be at least 1")
    pieces: list[Tensor] = []
    steps = []
    for _ in range(num_steps):
        if batch_size is None or batch_size >= num_images:
            indices = torch.arange(num_images, device=generator.device)
        else:
            if not pieces:
                order = torch.randperm(num_images, generator=generator, device=generator.device)
                pieces = list(torch.split(order, batch_size))
            indices = pieces.pop()
        record = draw(augmentation, len(indices), image_shape, generator, shared_op=True)
        steps.append(StudentStep(indices, record))
    return tuple(steps)


def ordered_steps(
    batches: Sequence[Tensor], image_shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[StudentStep, ...]:
    """Steps on batches of indices [b] int64 in their order, without augmentation, so nothing is drawn."""
    none = AugmentationConfig(strategy="none")
    return tuple(
        StudentStep(indices, draw(none, len(indices), image_shape, generator, shared_op=True))
        for indices in batches
    )


def step_loss(network: Network, flat: Tensor, pixels: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over images; a step divides by the size of its whole batch.

    Pixels [k, C, H, W] are as the student sees them, targets [k, classes] probabilities; ``flat`` [D] stands
    in for the parameters of the network, which stays unchanged.
    """
    values = unflatten_parameters(flat, network)
    # Batch norm would otherwise update its running statistics in place.
    values |= {name: buffer.clone() for name, buffer in network.named_buffers()}
    logits: Tensor = functional_call(network, values, (pixels,))
    return -(targets * logits.log_softmax(1)).sum()


def step_gradient(network: Network, flat: Tensor, pixels: Tensor, targets: Tensor) -> Tensor:
    """Gradient [D] of :func:`step_loss` in the parameters, without a graph."""
    flat = flat.detach().requires_grad_()
    with torch.enable_grad():
        loss = step_loss(network, flat, pixels.detach(), targets.detach())
    return torch.autograd.grad(loss, flat)[0]


def step_adjoint(
    network: Network,
    flat: Tensor,
    adjoint: Tensor,
    pixels: Tensor,
    targets: Tensor,
    *,
    to_targets: bool = True,
    to_parameters: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The inner product s of a step's gradient and an adjoint vector [D], with its derivatives.

    The other arguments are those of :func:`step_loss`. Derivatives in the targets, and in the parameters (a
    Hessian-vector product), are given where they are wanted.

    Returns:
        s, ∂s/∂pixels, ∂s/∂targets or None, ∂s/∂flat [D] or None; all detached.
    """
    flat = flat.detach().requires_grad_()
    pixels = pixels.detach().requires_grad_()
    targets = targets.detach().requires_grad_(to_targets)
    with torch.enable_grad():
        loss = step_loss(network, flat, pixels, targets)
        (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
        product = gradient @ adjoint
    wanted = [pixels, *([targets] if to_targets else []), *([flat] if to_parameters else [])]
    derivatives = list(torch.autograd.grad(product, wanted))
    to_flat = derivatives.pop() if to_parameters else None
    return product.detach(), derivatives[0], derivatives[1] if to_targets else None, to_flat


def check_fit(
    network: Network, images: Tensor, labels: Tensor, step_sizes: Tensor, start: Tensor, num_steps: int
) -> None:
    """Raise ShapeError for what no student can be trained on."""
    fits = labels.ndim == (2 if labels.dtype.is_floating_point else 1)
    if not fits or len(labels) != len(images):
        raise ShapeError(
            f"labels {labels.dtype} of shape {tuple(labels.shape)} for {len(images)} images; "
            "expected [n] int64 or [n, classes] floating point"
        )
    if step_sizes.ndim and step_sizes.shape != (num_steps,):
        raise ShapeError(
            f"step sizes have shape {tuple(step_sizes.shape)} for {num_steps} steps; expected a scalar or [N]"
        )
    expected = num_parameters(network)
    if start.shape != (expected,):
        raise ShapeError(f"start has shape {tuple(start.shape)}, the network needs [{expected}]")
