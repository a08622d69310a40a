"""One training step of a stack of networks: how it is computed, kept from one evaluation to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from study.core.chunks import Use, equal_pieces, fitting
from study.core.device import Compute
from study.core.programs import ProgramCache, compile_fixed
from study.models.pool import ModelConfig, build_model
from study.models.stack import NetworkStack
from study.models.work import work_of_model

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """A stack of networks and the descent of their losses.

    Attributes:
        stack: the networks.
        loss: of images and targets: cross-entropy summed over all networks and images.
        piece_size: images worked on at once, or None for the whole batch.
    """

    stack: NetworkStack
    loss: LossFunction
    piece_size: int | None

    def backward(self, images: Tensor, targets: Tensor) -> None:
        """Add the gradients of every network's mean cross-entropy to those of the stack's parameters.

        Args:
            images: [networks, b, C, H, W], or [b, C, H, W] where all networks see the same.
            targets: [networks, b] int64, or [networks, b, classes] probabilities.
        """
        batch_size = targets.shape[1]
        size = self.piece_size or batch_size
        pieces = zip(images.split(size, dim=-4), targets.split(size, dim=1), strict=True)  # type: ignore[no-untyped-call]
        for some_images, some_targets in pieces:
            loss = self.loss(some_images, some_targets) / batch_size
            loss.backward()  # type: ignore[no-untyped-call]


_steps: ProgramCache[TrainingStep] = ProgramCache(8)


def prepare_step(
    model: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    num_networks: int,
    batch_size: int,
    compute: Compute,
    compiled: bool,
) -> TrainingStep:
    """A training step of ``num_networks`` at once, from the cache where this thread has used the like before.

    On a CPU a single network works on pieces of a batch, where no norm looks across images: compiled ones fit
    the cache, others bound the memory.
    """
    work, size = work_of_model(model, image_shape, num_classes), None
    if num_networks == 1 and not work.mixes_images:
        largest = work.largest_map * compute.dtype.itemsize
        use: Use = "evaluation compiled" if compiled else "evaluation"
        size = equal_pieces(batch_size, fitting(use, largest, compute.device))

    def build() -> TrainingStep:
        network = build_model(model, image_shape, num_classes, device=compute.device)
        stack = NetworkStack(network, num_networks)
        loss = _build_loss(stack, compute)
        # Static shapes: a set's batch never changes size, and fixed sizes compile to faster code.
        return TrainingStep(stack, compile_fixed(loss) if compiled else loss, size)

    key = (model, image_shape, num_classes, num_networks, compute.device, compute.dtype, compiled, size)
    return _steps.get(key, build)


def _build_loss(stack: NetworkStack, compute: Compute) -> LossFunction:
    def loss(images: Tensor, targets: Tensor) -> Tensor:
        """Sum over networks and images of the cross-entropy, float32."""
        with compute.autocast():
            logits = stack.forward(images)
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(0, 1), reduction="sum")

    return loss
