"""Where DATM and PAD start: real images that experts classify correctly, and what experts say of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from study.core.chunks import fitting
from study.core.records import ImageDataset
from study.methods.base import Task
from study.methods.initialize import initialize, synthetic_labels
from study.methods.trajectories.expert_matching import Trajectories
from study.models.flat_params import forward_flat
from study.models.network import Network
from study.models.work import work_of


@torch.no_grad()
def start_from_experts(
    init: Literal["real", "noise", "real+noise", "correct"],
    task: Task,
    experts: Trajectories,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Images [n, C, H, W] to begin with, their labels [n] int64, and soft labels as logits [n, classes].

    Images are real ones that experts classify correctly (``correct``), or drawn by
    :func:`study.methods.initialize.initialize`, which may raise ConfigError. The logits are the mean over the
    final experts that name the right class, or over all where none does and the released code divides by 0.

    Source: Guo et al. 2024 (DATM).
    """
    network = task.network().eval()
    finals = [experts.final(index) for index in range(experts.num_experts)]
    if init == "correct":
        labels = synthetic_labels(task.train, task.ipc)
        images = task.train.images[first_correct(task.train, task.ipc, network, finals, generator)]
    else:
        images, labels = initialize(init, task.train, task.ipc, generator)
    logits = torch.stack([_logits(network, flat, images) for flat in finals])
    return images, labels, average_correct(logits, labels)


def first_correct(
    train: ImageDataset, ipc: int, network: Network, finals: list[Tensor], generator: torch.Generator
) -> Tensor:
    """Positions [classes · ipc]: of each class, in random order, the first that an expert gets right.

    The first expert chooses as many as it can, then the next; the first images that are left fill the rest.
    """
    positions = []
    for label, members in enumerate(train.class_indices()):
        order = torch.randperm(len(members), generator=generator, device=generator.device)
        left = members[order.to(members.device)]
        chosen: list[Tensor] = []
        for flat in finals:
            room = ipc - sum(len(one) for one in chosen)
            taken = _right(network, flat, train.images, left, label, room)
            chosen.append(left[taken])
            left = left[~torch.isin(torch.arange(len(left), device=left.device), taken)]
        room = ipc - sum(len(one) for one in chosen)
        positions.append(torch.cat([*chosen, left[:room]]))
    return torch.cat(positions)


def _right(
    network: Network, flat: Tensor, images: Tensor, members: Tensor, label: int, number: int
) -> Tensor:
    """Where in ``members`` the first ``number`` images that an expert gets right lie; it looks no further."""
    found: list[Tensor] = [members.new_empty(0)]
    # Most are right, so that some times as many hold enough.
    size, begin = max(32, 2 * number), 0
    while begin < len(members) and (missing := number - sum(len(one) for one in found)) > 0:
        part = members[begin : begin + size]
        right = _logits(network, flat, images[part]).argmax(1) == label
        found.append(begin + right.nonzero().flatten()[:missing])
        begin += size
    return torch.cat(found)


def average_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean logits [n, classes] of [experts, n, classes] over those right about an image; over all where none is."""
    right = (logits.argmax(2) == labels).to(logits.dtype)
    weight = torch.where(right.sum(0) == 0, torch.ones_like(right), right)
    return (logits * weight[:, :, None]).sum(0) / weight.sum(0)[:, None]


def _logits(network: Network, flat: Tensor, images: Tensor) -> Tensor:
    size = fitting("expert answers", work_of(network).largest_map * flat.element_size(), flat.device)
    parts = torch.split(images, size)
    return torch.cat([forward_flat(network, flat, part) for part in parts])
