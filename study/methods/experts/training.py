"""One expert trajectory: a network trained on real images, with its parameters after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.core.chunks import fitting
from study.core.device import Compute
from study.core.errors import ConfigError, DivergedError, ShapeError
from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import Task
from study.methods.experts.config import EpochOrder, ExpertConfig
from study.methods.experts.file import ExpertFile, Kept
from study.methods.experts.optimizers import FlatSGD, gsam_direction
from study.models.network import mixes_images
from study.models.work import work_of

MAX_SCORED_IMAGES = 2048
"""Training images, evenly spaced, on which a finished expert's accuracy is counted."""


class ExpertDivergedError(DivergedError):
    """An expert's parameters became infinite or not a number."""

    def __init__(self, expert: int, epoch: int) -> None:
        """Name the expert and the epoch, from 1."""
        ArithmeticError.__init__(
            self, f"expert {expert} diverged in epoch {epoch}; lower the experts' learning rate (experts.lr)"
        )
        self.iteration = None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Snapshots [rows, D] float32 on the CPU, from the start on, with what is known of their expert.

    ``train_accuracy`` is the last one's on training images without augmentation; ``seconds`` are wall time.
    """

    snapshots: Tensor
    train_accuracy: float
    seconds: float


def expert_compute(task: Task, config: ExpertConfig) -> Compute:
    """The device and precision experts are trained with; never compiled, so bits do not depend on a compiler."""
    dtype = torch.float32 if config.precision == "float32" else task.compute.dtype
    return Compute(task.compute.device, dtype)


class ExpertRecorder:
    """Trains experts one after the other; each is determined by the task, the settings and its own number.

    So networks are not stacked, and steps not compiled: at 256 images neither was worth having on CPUs.
    """

    def __init__(self, task: Task, config: ExpertConfig, order: EpochOrder, generators: Generators) -> None:
        """Build the network; expert i draws from ``generators.child("expert", i)``.

        Raises ConfigError for running statistics, which snapshots of parameters leave out.
        """
        self._task, self._config, self._order, self._generators = task, config, order, generators
        self._compute = expert_compute(task, config)
        # Its own numbers do not matter: every expert starts from its own draw.
        self._network = task.network()
        if mixes_images(self._network):
            raise ConfigError(
                f"model {task.model.name!r} with norm {task.model.norm!r} has batch norm: experts keep parameters "
                "only, so its running statistics cannot be replayed; use model.norm = 'instance' or 'none'"
            )
        self._parameters = list(self._network.parameters())
        self._point = _share_memory(self._parameters)
        self.num_parameters = len(self._point)
        largest = work_of(self._network).largest_map * self._compute.dtype.itemsize
        most = fitting("experts", largest, self._compute.device)
        self._chunk_size = min(config.batch_size, most)

    def record(
        self,
        expert: int,
        after_epoch: Callable[[], None] | None = None,
        before_batch: Callable[[], None] | None = None,
        *,
        last: int | None = None,
        known: ExpertFile | None = None,
    ) -> Trajectory:
        """Train an expert, by its number, from its own start and keep its parameters after the epochs that count.

        These are all up to ``last``, by default every one, and the final one. Where some are ``known`` only the
        epochs between them are trained. ``before_batch`` may raise to stop. Raises ExpertDivergedError where
        parameters are not finite, and ShapeError where the order gives no image, or positions outside of the
        training set.
        """
        # Numbers come from the CPU, whatever device computes: there is no waiting for an accelerator.
        family = Generators(self._generators.child("expert", expert).seed)
        started = time.perf_counter()
        config = self._config
        kept = self.kept(last)
        snapshots = torch.empty(kept.num_rows, self.num_parameters)
        epochs = self.epochs_to_train(kept, known)
        if known is None:
            self._network.reset_parameters(family["init"])
            flat = self._point.clone()
            # Copied into their own rows: a detached vector would share memory with the weights in training.
            snapshots[0].copy_(flat)
        else:
            for epoch in range(epochs.start + 1):
                snapshots[epoch].copy_(known.snapshot(epoch))
            snapshots[-1].copy_(known.snapshot(config.num_epochs))
            flat = snapshots[epochs.start].to(self._point.device, copy=True)
        optimizer = FlatSGD(config.lr, config.momentum, config.weight_decay)
        for epoch in epochs:
            draws = family.child("epoch", epoch)
            for batch in torch.split(self._epoch_positions(epoch, draws), config.batch_size):
                if before_batch is not None:
                    before_batch()
                self._train_batch(flat, optimizer, batch, draws)
            if not bool(flat.isfinite().all()):
                raise ExpertDivergedError(expert, epoch + 1)
            if (row := kept.row(epoch + 1)) is not None:
                snapshots[row].copy_(flat)
            if after_epoch is not None:
                after_epoch()
        seconds = time.perf_counter() - started
        if known is not None:
            return Trajectory(snapshots, known.train_accuracy, known.seconds + seconds)
        return Trajectory(snapshots, self._accuracy(flat), seconds)

    def kept(self, last: int | None) -> Kept:
        """The snapshots to keep where those up to an epoch are asked for, by default all."""
        num_epochs = self._config.num_epochs
        return Kept(self.num_parameters, num_epochs, num_epochs if last is None else min(last, num_epochs))

    def epochs_to_train(self, wanted: Kept, known: ExpertFile | None) -> range:
        """The epochs between what is known of an expert and what is wanted of it."""
        if known is None:
            return range(wanted.num_epochs)
        # The velocity of momentum is not stored, so such an expert has to set out from its start again.
        begin = 0 if self._config.momentum else known.kept.last
        return range(begin, max(begin, wanted.num_rows - 2))

    def _epoch_positions(self, epoch: int, family: Generators) -> Tensor:
        """Positions an epoch visits, shuffled, on the CPU."""
        num_images = len(self._task.train)
        allowed = self._order.indices(epoch)
        if allowed is None:
            allowed = torch.arange(num_images)
        allowed = allowed.cpu()
        if allowed.ndim != 1 or not len(allowed):
            raise ShapeError(
                f"epoch {epoch} has positions of shape {tuple(allowed.shape)}, expected [k], k >= 1"
            )
        if int(allowed.min()) < 0 or int(allowed.max()) >= num_images:
            raise ShapeError(
                f"epoch {epoch} has positions from {int(allowed.min())} to {int(allowed.max())}, "
                f"but there are {num_images} training images"
            )
        shuffled = allowed[torch.randperm(len(allowed), generator=family["batches"])]
        number = math.ceil(self._config.epoch_fraction * len(allowed))
        if self._config.balance and self._task.train.is_unbalanced:
            return balanced(shuffled, self._task.train.labels.cpu(), number)
        return shuffled[:number]

    def _train_batch(self, flat: Tensor, optimizer: FlatSGD, positions: Tensor, family: Generators) -> None:
        train, config = self._task.train, self._config
        there = positions.to(self._compute.device, non_blocking=True)
        pixels, labels = train.images[there], train.labels[there]
        if config.augment:
            source = family["augmentation"]
            record = draw(self._task.augmentation, len(positions), train.image_shape, source, shared_op=True)
            pixels = augment(pixels, record)

        def gradient_at(parameters: Tensor) -> Tensor:
            return self._gradient(parameters, pixels, labels)

        if config.optimizer == "gsam":
            direction = gsam_direction(
                flat, gradient_at, rho=config.gsam_rho, alpha=config.gsam_alpha, adaptive=config.gsam_adaptive
            )
        else:
            direction = gradient_at(flat)
        optimizer.step(flat, direction)

    def _gradient(self, flat: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
        """Gradient [D] float32 of the batch's mean cross-entropy, summed over chunks that fit the cache."""
        self._point.copy_(flat)
        total: Tensor | None = None
        with torch.enable_grad():
            for logits, some_labels in self._answers(pixels, labels):
                loss = functional.cross_entropy(logits.float(), some_labels, reduction="sum") / len(labels)
                pieces = torch.autograd.grad(loss, self._parameters)
                part = torch.cat([piece.reshape(-1) for piece in pieces])
                total = part if total is None else total.add_(part)
        assert total is not None
        return total

    @torch.no_grad()
    def _accuracy(self, flat: Tensor) -> float:
        self._point.copy_(flat)
        train = self._task.train
        step = math.ceil(len(train) / MAX_SCORED_IMAGES)
        images, labels = train.images[::step], train.labels[::step]
        answers = self._answers(images, labels)
        return sum(int((logits.argmax(dim=1) == some).sum()) for logits, some in answers) / len(labels)

    def _answers(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and labels of one chunk after the other."""
        chunks = (torch.split(one, self._chunk_size) for one in (images, labels))
        for some_images, some_labels in zip(*chunks, strict=True):
            with self._compute.autocast():
                logits = self._network(some_images)
            yield logits, some_labels


def balanced(positions: Tensor, labels: Tensor, number: int) -> Tensor:
    """``number`` of some shuffled positions, classes in turn; those of a small class come again when it is through.

    Args:
        positions: [k] int64, in random order.
        labels: [images] int64 of all images.
        number: how many are wanted, at most k.
    """
    members = [positions[labels[positions] == label] for label in labels[positions].bincount().nonzero()]
    rounds = math.ceil(number / len(members))
    columns = [one.repeat(math.ceil(rounds / len(one)))[:rounds] for one in members]
    return torch.stack(columns, dim=1).flatten()[:number]


@torch.no_grad()
def _share_memory(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Lay parameters out in one vector [D], in their order; from then on each is a view of its part."""
    flat = torch.cat([parameter.reshape(-1) for parameter in parameters])
    start = 0
    for parameter in parameters:
        parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
        start += parameter.numel()
    return flat
