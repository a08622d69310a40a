"""Time one update of ours by gradient matching (DSA) beside a plain per-class float32 loop, in one run.

The network is drawn anew for every update, as at one image a class: training it in between costs both sides
the same. Second derivatives are not compiled. See ``iterations.py`` for the rules. Example:

    python experiments/benchmarks/dc_iteration.py --dataset mnist --ipc 1 --batch-real 64 --iterations 5
"""

from __future__ import annotations

import sys

import torch
from iterations import Benchmark, main
from torch import Tensor
from torch.nn import functional

from study.methods.dsa import DSA
from study.methods.matching.gradients import GradientMatchingConfig
from study.models.pool import Network

IMAGE_LR = 1e-3
"""A hundredth of the published one."""


def class_loss(
    network: Network, real: Tensor, synthetic: Tensor, label: int, config: GradientMatchingConfig
) -> Tensor:
    """Cosine distances, row by row, of the gradients that one class's real and synthetic images give."""
    parameters = list(network.parameters())
    gradients = []
    for images, keep in ((real, False), (synthetic, True)):
        labels = torch.full((len(images),), label, device=images.device)
        error = functional.cross_entropy(network(images), labels)
        gradients.append(torch.autograd.grad(error, parameters, create_graph=keep))
    loss = real.new_zeros(())
    for wanted, made in zip(*gradients, strict=True):
        if wanted.ndim > 1:
            a, b = wanted.flatten(1), made.flatten(1)
            loss = loss + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return loss


def configure(num_iterations: int, batch_real: int) -> GradientMatchingConfig:
    """DSA as published, apart from its learning rate and with a new network for every update."""
    return GradientMatchingConfig(
        num_iterations=num_iterations, image_lr=IMAGE_LR, batch_real=batch_real, num_outer_steps=1
    )


if __name__ == "__main__":
    sys.exit(main(Benchmark(DSA, configure, class_loss, compiles=False), __doc__))
