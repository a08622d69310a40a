"""Time one DataDAM iteration of ours beside a plain per-class float32 loop on the same work, in one run.

Their mean losses must agree; see ``iterations.py`` for the rules. Example:

    python experiments/benchmarks/datadam_iteration.py --dataset mnist --ipc 10 --batch-real 64 --iterations 5
"""

from __future__ import annotations

import sys

import torch
from iterations import Benchmark, main
from torch import Tensor
from torch.nn import functional

from study.methods.datadam import DataDAM, DataDAMConfig
from study.models.pool import Network

IMAGE_LR = 1e-2
"""A hundredth of the published one."""


def mean_features(network: Network, images: Tensor, power: float) -> list[Tensor]:
    """Mean attention maps of all layers but the last, and mean embedding, of one class's images."""
    maps, embedding = network.observe(images)
    attention = [
        functional.normalize(one.abs().pow(power).sum(1).flatten(1), dim=1).mean(0) for one in maps[:-1]
    ]
    return [*attention, embedding.mean(0)]


def class_loss(
    network: Network, real: Tensor, synthetic: Tensor, label: int, config: DataDAMConfig
) -> Tensor:
    """Weighed squared distances of one class's mean attention maps and mean embedding."""
    network.requires_grad_(False)
    with torch.no_grad():
        wanted = mean_features(network, real, config.attention_power)
    made = mean_features(network, synthetic, config.attention_power)
    *maps, output = [(a - b).square().sum() for a, b in zip(wanted, made, strict=True)]
    return config.loss_scale * (torch.stack(maps).sum() + config.output_weight * output)


def configure(num_iterations: int, batch_real: int) -> DataDAMConfig:
    """DataDAM as printed, apart from its learning rate."""
    return DataDAMConfig(num_iterations=num_iterations, image_lr=IMAGE_LR, batch_real=batch_real)


if __name__ == "__main__":
    sys.exit(main(Benchmark(DataDAM, configure, class_loss), __doc__))
