"""The values that layers hand to each other: datasets, synthetic sets, progress, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from study.core.errors import ShapeError

UNBALANCED_RATIO = 1.5


def image_shape(images: Tensor) -> tuple[int, int, int]:
    """Channels, height, width of images [n, C, H, W]."""
    channels, height, width = images.shape[1:]
    return channels, height, width


@dataclass(frozen=True)
class ImageDataset:
    """Labelled images, whole, on one device.

    Attributes:
        images: [n, C, H, W] float32 in normalised space.
        labels: [n] int64 in ``0 .. len(class_names) - 1``.
        class_names: one name a class, in label order.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_images(self.images)
        _check_labels(self.images, self.labels, len(self.class_names))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes, also of those without an image here."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return image_shape(self.images)

    def class_counts(self) -> list[int]:
        """Images of each class, in label order."""
        return torch.bincount(self.labels, minlength=self.num_classes).tolist()

    @property
    def is_unbalanced(self) -> bool:
        """Whether the largest class has more than 1.5 times the images of the smallest that occurs."""
        counts = [count for count in self.class_counts() if count]
        return bool(counts) and max(counts) > UNBALANCED_RATIO * min(counts)

    def class_indices(self) -> list[Tensor]:
        """For each class the positions of its images, ascending, on the device of the labels."""
        return [torch.nonzero(self.labels == label).flatten() for label in range(self.num_classes)]

    def subset(self, indices: Tensor) -> ImageDataset:
        """The images at these positions, in this order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device) -> ImageDataset:
        """The same dataset on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class StepSchedule:
    """How a set was learned to be trained on: plain gradient steps on given images, each of its own size.

    Attributes:
        order: [N, b] int64, the images of each step, as positions in the set.
        step_sizes: [N] float32, positive; the learning rate of each step (Greek eta).
        network_seed: of a CPU generator from which the one network is drawn that the set was learned for;
            None where it was learned for networks drawn at random.
    """

    order: Tensor
    step_sizes: Tensor
    network_seed: int | None = None

    def __post_init__(self) -> None:
        if self.order.ndim != 2 or self.order.dtype is not torch.int64 or not self.order.numel():
            raise ShapeError(
                f"order of steps is {self.order.dtype} {tuple(self.order.shape)}, expected int64 [N, b]"
            )
        if self.step_sizes.dtype is not torch.float32 or self.step_sizes.shape != self.order.shape[:1]:
            raise ShapeError(
                f"step sizes are {self.step_sizes.dtype} {tuple(self.step_sizes.shape)}, "
                f"expected float32 [{len(self.order)}], one a step"
            )
        if not bool((self.step_sizes.isfinite() & (self.step_sizes > 0)).all()):
            raise ShapeError(
                f"step sizes reach down to {float(self.step_sizes.min())}; expected numbers above 0"
            )

    def __len__(self) -> int:
        return len(self.order)

    @property
    def batch_size(self) -> int:
        """Images a step."""
        return self.order.shape[1]

    def to(self, device: torch.device) -> StepSchedule:
        """The same schedule on another device."""
        return replace(self, order=self.order.to(device), step_sizes=self.step_sizes.to(device))


@dataclass(frozen=True)
class SyntheticSet:
    """Images to train on in place of a dataset, grouped by class.

    Attributes:
        images: [n, C, H, W] float32 in the normalised space of the real data, not clamped.
        labels: [n] int64; the class each image was made for, ascending.
        class_names: one name a class, in label order.
        logits: [n, classes] float32 soft labels before softmax, or None where labels are hard.
        step_size: learning rate that was learned with the images (Greek beta), or None.
        schedule: the steps that were learned with the images and that evaluation replays, or None.

    Example:
        >>> one = SyntheticSet(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> one.ipc, one.num_classes
        (1, 2)
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    logits: Tensor | None = None
    step_size: float | None = None
    schedule: StepSchedule | None = None

    def __post_init__(self) -> None:
        _check_images(self.images)
        _check_labels(self.images, self.labels, len(self.class_names))
        expected = (len(self.labels), len(self.class_names))
        if self.logits is not None and tuple(self.logits.shape) != expected:
            raise ShapeError(f"logits have shape {tuple(self.logits.shape)}, expected {expected}")
        if self.schedule is not None:
            low, high = int(self.schedule.order.min()), int(self.schedule.order.max())
            if low < 0 or high >= len(self.labels):
                raise ShapeError(f"steps use images {low} to {high}, but there are {len(self.labels)} images")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ipc(self) -> int:
        """Images per class."""
        return len(self.labels) // len(self.class_names)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def targets(self) -> Tensor:
        """What cross-entropy takes: labels [n] int64, or probabilities [n, classes] where they are soft."""
        return self.labels if self.logits is None else self.logits.softmax(dim=1)

    def to(self, device: torch.device) -> SyntheticSet:
        """The same set on another device."""
        logits = None if self.logits is None else self.logits.to(device)
        schedule = None if self.schedule is None else self.schedule.to(device)
        images, labels = self.images.to(device), self.labels.to(device)
        return replace(self, images=images, labels=labels, logits=logits, schedule=schedule)

    def as_dataset(self) -> torch.utils.data.TensorDataset:
        """Pairs (image, target) for a ``DataLoader``; targets as :meth:`targets` gives them."""
        return torch.utils.data.TensorDataset(self.images, self.targets())


@dataclass(frozen=True)
class Progress:
    """What a method yields after each update of the synthetic images.

    Attributes:
        iteration: updates done so far, from 1.
        losses: detached scalars by name; ``match/loss`` is always there.
        snapshot: copies the current state on demand; call it before asking for the next progress.
    """

    iteration: int
    losses: Mapping[str, Tensor]
    snapshot: Callable[[], SyntheticSet] = field(repr=False)


@dataclass(frozen=True)
class Score:
    """How well fresh networks trained on a set classify real images.

    Attributes:
        metric: ``accuracy`` or ``balanced_accuracy``; what ``values`` holds, as fractions.
        values: one entry an evaluation seed.
        extra: further metrics by name, again one entry an evaluation seed (accuracy, AUC).
        seconds: wall time of all seeds together.

    Example:
        >>> Score("accuracy", (0.25, 0.75)).mean
        0.5
    """

    metric: str
    values: tuple[float, ...]
    extra: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def n(self) -> int:
        """Evaluation seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over evaluation seeds."""
        return sum(self.values) / len(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation over evaluation seeds (ddof 1); 0 for a single seed."""
        if self.n < 2:
            return 0.0
        mean = self.mean
        return float((sum((value - mean) ** 2 for value in self.values) / (self.n - 1)) ** 0.5)

    def extra_means(self) -> dict[str, float]:
        """Mean of each further metric over evaluation seeds."""
        return {name: sum(values) / len(values) for name, values in self.extra.items()}

    def summary(self) -> dict[str, Any]:
        """Plain values for manifests and JSON."""
        return {"metric": self.metric, "mean": self.mean, "std": self.std, "n": self.n,
                "values": list(self.values), **self.extra_means()}  # fmt: skip


def _check_images(images: Tensor) -> None:
    if images.ndim != 4:
        raise ShapeError(f"images have shape {tuple(images.shape)}, expected [n, channels, height, width]")
    if images.dtype is not torch.float32:
        raise ShapeError(f"images are {images.dtype}, expected torch.float32")


def _check_labels(images: Tensor, labels: Tensor, num_classes: int) -> None:
    if labels.dtype is not torch.int64 or tuple(labels.shape) != (len(images),):
        raise ShapeError(f"labels are {labels.dtype} {tuple(labels.shape)}, expected int64 [{len(images)}]")
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        raise ShapeError(
            f"labels reach from {labels.min()} to {labels.max()}, but there are {num_classes} classes"
        )
