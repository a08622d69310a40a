"""Time one DM iteration of ours beside a plain per-class float32 loop on the same work, in one run.

Their mean losses must agree; see ``iterations.py`` for the rules. Example:

    python experiments/benchmarks/dm_iteration.py --dataset mnist --ipc 10 --iterations 5
"""

from __future__ import annotations

import sys

from iterations import Benchmark, main
from torch import Tensor

from study.methods.dm import DM, DMConfig
from study.models.pool import Network

IMAGE_LR = 1e-3
"""A thousandth of what DM uses."""


def class_loss(network: Network, real: Tensor, synthetic: Tensor, label: int, config: DMConfig) -> Tensor:
    """Squared distance of the mean features of one class's real and synthetic images."""
    network.requires_grad_(False)
    return (network.embed(real).detach().mean(0) - network.embed(synthetic).mean(0)).square().sum()


def configure(num_iterations: int, batch_real: int) -> DMConfig:
    """DM as published, apart from its learning rate."""
    return DMConfig(num_iterations=num_iterations, image_lr=IMAGE_LR, batch_real=batch_real)


if __name__ == "__main__":
    sys.exit(main(Benchmark(DM, configure, class_loss), __doc__))
