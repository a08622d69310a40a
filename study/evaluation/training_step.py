"""One training step of a stack of networks: how it is computed, kept from one evaluation to the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import Compute
from study.models.footprint import largest_map
from study.models.pool import ModelConfig, build_model
from study.models.stack import NetworkStack

__all__ = ["Probe", "TrainingStep", "prepare_step", "probe"]

PIECE_BYTES_PER_THREAD = 5 << 20
"""Largest activation of one piece of a compiled batch on a CPU, a thread: MNIST batches of 100 run whole at
width 64 and as two pieces at width 128, a tenth quicker than whole."""
MAX_MAP_BYTES = 256 << 20
"""Largest activation of one piece of an uncompiled batch on a CPU. Backpropagation keeps about eight as large, so
that a batch of large images would otherwise fill the memory."""
CACHE_SIZE = 8

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Probe:
    """Facts on an architecture that do not depend on its parameters.

    Attributes:
        stackable: whether several of its networks can run as one.
        flops: of one image forwards.
        largest_map: elements of the largest activation of one image.
    """

    stackable: bool
    flops: int
    largest_map: int


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


class _Cache(threading.local):
    """What one thread can use again: stacks with their compiled steps, and facts on architectures."""

    def __init__(self) -> None:
        self.steps: OrderedDict[tuple[object, ...], TrainingStep] = OrderedDict()
        self.probes: dict[tuple[object, ...], Probe] = {}


_CACHE = _Cache()


def probe(model: ModelConfig, image_shape: tuple[int, int, int], num_classes: int) -> Probe:
    """Facts on an architecture, counted once a thread."""
    key = (model, image_shape, num_classes)
    if key not in _CACHE.probes:
        network = build_model(model, image_shape, num_classes, torch.Generator()).eval()
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, *image_shape))
        _CACHE.probes[key] = Probe(network.stackable, counter.get_total_flops(), largest_map(network))
    return _CACHE.probes[key]


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
    """A training step, from the cache where this thread has used the like before.

    Args:
        model: the architecture.
        image_shape: channels, height, width.
        num_classes: length of one row of logits.
        num_networks: networks trained as one.
        batch_size: images of a step.
        compute: device and precision.
        compiled: whether the step is compiled. On a CPU a single network works on pieces of a batch, where no
            norm looks across images: compiled ones fit the cache, others bound the memory.
    """
    room = PIECE_BYTES_PER_THREAD * torch.get_num_threads() if compiled else MAX_MAP_BYTES
    facts = probe(model, image_shape, num_classes)
    size = _piece_size(facts, batch_size, compute, room) if num_networks == 1 else None
    key = (model, image_shape, num_classes, num_networks, compute.device, compute.dtype, compiled, size)
    if key not in _CACHE.steps:
        network = build_model(model, image_shape, num_classes, torch.Generator(), compute.device)
        stack = NetworkStack(network, num_networks)
        loss = _build_loss(stack, compute)
        # Static shapes: a set's batch never changes size, and fixed sizes compile to faster code.
        _CACHE.steps[key] = TrainingStep(
            stack, torch.compile(loss, dynamic=False) if compiled else loss, size
        )
        while len(_CACHE.steps) > CACHE_SIZE:
            _CACHE.steps.popitem(last=False)
    _CACHE.steps.move_to_end(key)
    return _CACHE.steps[key]


def _piece_size(facts: Probe, batch_size: int, compute: Compute, room: float) -> int | None:
    """Images of equal pieces whose largest activation fits into so many bytes; None for the whole batch."""
    if compute.device.type != "cpu" or not facts.stackable:
        return None
    fitting = max(1, int(room // (facts.largest_map * compute.dtype.itemsize)))
    num_pieces = -(-batch_size // fitting)
    return None if num_pieces == 1 else -(-batch_size // num_pieces)


def _build_loss(stack: NetworkStack, compute: Compute) -> LossFunction:
    def loss(images: Tensor, targets: Tensor) -> Tensor:
        """Sum over networks and images of the cross-entropy, float32."""
        with compute.autocast():
            logits = stack.forward(images)
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(0, 1), reduction="sum")

    return loss
