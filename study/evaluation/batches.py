"""Training batches for a stack of networks: one permutation and one augmentation stream a seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from study.core.chunks import fitting
from study.core.records import StepSchedule
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig, augment, draw, join


@torch.no_grad()
def training_batches(
    images: Tensor,
    targets: Tensor,
    num_steps: int,
    batch_size: int,
    augmentation: AugmentationConfig,
    seeds: Sequence[Generators],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batch of every training step.

    A set that fits one batch is taken whole and in order; a larger one is permuted anew every epoch,
    and its last batch may be short. Batches are gathered and augmented many steps at a time, which
    for small images saves most of the cost of augmentation.

    Images are [n, C, H, W] float32, targets [n] int64 classes or [n, classes] float32 probabilities.
    Augmentation is one operation a batch and seed, with parameters drawn for every image. Of the generators of
    each network, ``batches`` and ``augmentation`` are used.

    Yields:
        Images [networks, b, C, H, W], or [b, C, H, W] where all networks see the same; targets
        [networks, b] or [networks, b, classes].
    """
    num_networks = len(seeds)
    if len(images) <= batch_size and not augmentation.operations:
        everywhere = targets.expand(num_networks, *targets.shape)
        yield from itertools.repeat((images, everywhere), num_steps)
        return
    numbers_per_step = num_networks * min(batch_size, len(images)) * images[0].numel()
    block_steps = fitting("evaluation batches", numbers_per_step, images.device)
    positions = itertools.islice(_positions(len(images), batch_size, seeds), num_steps)
    image_shape = (images.shape[1], images.shape[2], images.shape[3])
    while block := list(itertools.islice(positions, block_steps)):
        chosen = torch.cat([step.flatten() for step in block]).to(images.device)
        pixels = images[chosen]
        if augmentation.operations:
            records = [
                draw(augmentation, step.shape[1], image_shape, seed["augmentation"], shared_op=True)
                for step in block
                for seed in seeds
            ]
            pixels = augment(pixels, join(records))
        sizes = [step.numel() for step in block]
        pieces = zip(block, torch.split(pixels, sizes), torch.split(targets[chosen], sizes), strict=True)
        for step, some, wanted in pieces:
            yield some.view(*step.shape, *image_shape), wanted.view(*step.shape, *targets.shape[1:])


def scheduled_batches(
    images: Tensor, targets: Tensor, schedule: StepSchedule, num_networks: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batch of every step of a schedule, as it is, the same for all networks.

    Takes images and targets as :func:`training_batches` does, and yields images [b, C, H, W] and targets
    [networks, b] or [networks, b, classes].
    """
    for chosen in schedule.order:
        some = targets[chosen]
        yield images[chosen], some.expand(num_networks, *some.shape)


def _positions(num_images: int, batch_size: int, seeds: Sequence[Generators]) -> Iterator[Tensor]:
    """Positions [networks, b] of every batch, epoch after epoch without end."""
    whole = torch.arange(num_images).expand(len(seeds), num_images)
    while True:
        if num_images <= batch_size:
            yield whole
            continue
        sources = [seed["batches"] for seed in seeds]
        orders = [torch.randperm(num_images, generator=g, device=g.device).cpu() for g in sources]
        yield from torch.split(torch.stack(orders), batch_size, dim=1)
