"""How much is worked on at once: every bound that cuts images into chunks, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Use = Literal[
    "evaluation", "evaluation compiled", "evaluation batches", "stacked float32", "stacked bfloat16", "prediction",
    "difficulty stacked", "difficulty scores", "difficulty gradients", "coreset features", "leakage pixels",
    "leakage pairs", "features", "features graph", "gradient groups", "student", "experts", "expert answers",
]  # fmt: skip
MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Room:
    """What one chunk may take.

    Attributes:
        amount: in the unit that the items are counted in: bytes, pixels, FLOPs.
        least: items of a chunk, even where they take more.
        most: items of a chunk, even where more would fit; None for no such bound.
        per_thread: the amount is that of one CPU thread.
    """

    amount: int
    least: int = 1
    most: int | None = None
    per_thread: bool = False

    def fitting(self, item: int) -> int:
        """Items that fit where each takes ``item``."""
        amount = self.amount * (torch.get_num_threads() if self.per_thread else 1)
        number = max(self.least, amount // item)
        return number if self.most is None else min(number, self.most)


EVERYTHING = Room(1 << 62)

ROOMS: dict[Use, tuple[Room, Room]] = {
    # Largest activation. Backpropagation keeps about eight as large: a batch of large images would fill the memory.
    "evaluation": (Room(256 * MIB), EVERYTHING),
    # Largest activation. MNIST batches of 100 run whole at width 64 and as two pieces at width 128, a tenth
    # quicker than whole.
    "evaluation compiled": (Room(5 * MIB, per_thread=True), EVERYTHING),
    # Numbers of the images that are gathered and augmented together, in steps.
    "evaluation batches": (Room(2**22, most=64), Room(2**22, most=64)),
    # Forward FLOPs of one step up to which stacking networks measured faster on two CPU cores; accelerators wait
    # for larger steps, and ten times as much is a cautious guess.
    "stacked float32": (Room(250_000_000), Room(2_500_000_000)),
    "stacked bfloat16": (Room(700_000_000), Room(7_000_000_000)),
    # Pixels, so that activations fit the cache.
    "prediction": (Room(2**16, 16, 1024), Room(2**22, 64)),
    # As for evaluation, but never in bfloat16's larger steps.
    "difficulty stacked": (Room(250_000_000), Room(2_500_000_000)),
    # Pixels, so that activations, or the gradients of every image, fit the cache.
    "difficulty scores": (Room(2**16, 16), Room(2**22, 16)),
    "difficulty gradients": (Room(2**14, 16), Room(2**20, 16)),
    # Pixels: half a gigabyte an activation at width 128.
    "coreset features": (Room(2**20), Room(2**20)),
    "leakage pixels": (Room(2**19), Room(2**19)),
    "leakage pairs": (Room(2**24), Room(2**24)),
    # Largest feature map, which should stay in the cache between convolution and pool. 16 MNIST images at width
    # 128 on two threads, measured as the best of 8, 16, 32, 64 and 128.
    "features": (Room(2 * MIB, per_thread=True), Room(GIB)),
    # What backpropagation keeps. Above it each chunk's graph is built again in the backward pass: a third more
    # time, the memory of a chunk.
    "features graph": (Room(2 * GIB, least=0), Room(2 * GIB, least=0)),
    # Synthetic images of one second-order graph; more of them fall out of a CPU's cache.
    "gradient groups": (Room(16), Room(512)),
    # Largest activation. The C library maps larger tensors anew each time, and at 224 pixels page faults then
    # take as long as the convolutions.
    "student": (Room(32 * MIB), EVERYTHING),
    # Largest activation: the quickest of 2 to 16 MB on digits and MNIST.
    "experts": (Room(4 * MIB), Room(GIB)),
    # Largest activation: at 224 pixels far fewer images than the usual batch fill the memory.
    "expert answers": (Room(256 * MIB, most=512), Room(256 * MIB, most=512)),
}
"""What a chunk may take on a CPU, and on an accelerator."""


def fitting(use: Use, item: int, device: torch.device) -> int:
    """Items of one chunk, each taking ``item`` of what the use is counted in.

    >>> fitting("gradient groups", 10, torch.device("cuda"))
    51
    """
    return ROOMS[use][0 if device.type == "cpu" else 1].fitting(item)


def equal_pieces(num_items: int, most: int) -> int | None:
    """Size of as few equal pieces as hold at most ``most`` items each; None where one piece holds all.

    >>> equal_pieces(100, 40)
    34
    """
    num_pieces = -(-num_items // most)
    return None if num_pieces == 1 else -(-num_items // num_pieces)


def even_sizes(num_items: int, target: int) -> list[int]:
    """Sizes that sum to ``num_items``: equal ones near the target if possible, else a smaller last one.

    Programs are compiled for one size each, so that equal pieces need a single one.

    >>> even_sizes(60, 16)
    [15, 15, 15, 15]
    """
    near = range(min(num_items, target * 3 // 2), max(1, target // 2) - 1, -1)
    even = [size for size in near if num_items % size == 0]
    size = min(even, key=lambda size: abs(size - target), default=min(target, num_items))
    full, rest = divmod(num_items, size)
    return [size] * full + ([rest] if rest else [])
