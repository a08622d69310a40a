"""What matching methods share besides features: real batches by class, and the images being optimised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from study.core.records import ImageDataset, Progress, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.base import MethodConfig, Task
from study.methods.initialize import initialize
from study.methods.learned import LearnedImages
from study.methods.matching.random_features import RandomFeatures, averaging_matrix


class MatchingConfig(MethodConfig):
    """Settings of methods that compare batches of real images with all synthetic ones."""

    image_lr: float = Field(1.0, gt=0)
    """Learning rate of the pixels."""
    momentum: float = Field(0.5, ge=0, lt=1)
    """Of the pixels' SGD."""
    batch_real: int = Field(256, ge=1)
    """Real images a class in each iteration; a smaller class gives all it has."""


class ClassBatches:
    """Real batches with the same number of images of every class, without replacement within a batch.

    Attributes:
        labels: [n] int64 on the CPU, the class of each image of a batch, ascending.
        averaging: [classes, n] float32, see :func:`averaging_matrix`.
    """

    def __init__(self, dataset: ImageDataset, batch_size: int) -> None:
        """Index the dataset; a class of fewer than ``batch_size`` images, but at least one, gives all it has."""
        counts = torch.tensor(dataset.class_counts())
        taken = counts.clamp(max=batch_size)
        device = dataset.images.device
        self._images = dataset.images
        self._num_columns = int(taken.max())
        self._indices = torch.nn.utils.rnn.pad_sequence(dataset.class_indices(), batch_first=True)
        self._absent = (torch.arange(self._indices.shape[1]) >= counts[:, None]).to(device)
        kept = torch.arange(self._num_columns) < taken[:, None]
        self._kept = kept.flatten().nonzero().flatten().to(device)
        self.labels = torch.arange(len(counts)).repeat_interleave(taken)
        self.averaging = averaging_matrix(self.labels, len(counts)).to(device)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Images [n, C, H, W] of the next batch, grouped by class, on the device of the dataset."""
        # The largest of uniform keys are a uniform choice without replacement, for all classes at once.
        keys = torch.rand(self._indices.shape, generator=generator, device=generator.device)
        keys = keys.to(self._images.device).masked_fill_(self._absent, -1.0)
        order = keys.topk(self._num_columns, dim=1).indices
        return self._images[self._indices.gather(1, order).flatten()[self._kept]]


class SyntheticImages(LearnedImages):
    """The images a method optimises, by SGD with momentum, and nothing else.

    Attributes:
        pixels: [classes · ipc, C, H, W] float32 leaf, grouped by class.
        labels: [classes · ipc] int64 on the CPU.
        averaging: [classes, classes · ipc] float32, see :func:`averaging_matrix`.
    """

    def __init__(self, task: Task, config: MatchingConfig, generator: torch.Generator) -> None:
        """Draw the starting point; raises as :func:`study.methods.initialize.initialize` does."""
        images, labels = initialize(config.init, task.train, task.ipc, generator)
        self.pixels = images.requires_grad_()
        self.labels = labels.cpu()
        self.averaging = averaging_matrix(labels, task.train.num_classes)
        self._class_names = task.train.class_names
        self._optimizer = torch.optim.SGD([self.pixels], lr=config.image_lr, momentum=config.momentum)

    def step(self, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Descend along the gradient of ``match/loss``, which has its graph; otherwise as :meth:`descend`."""
        return self.descend(torch.autograd.grad(losses["match/loss"], self.pixels)[0], losses, iteration)

    def descend(self, gradient: Tensor, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Descend along a gradient [classes · ipc, C, H, W]; ``iteration`` counts the updates with this one.

        Raises DivergedError where a loss is not finite, or a pixel has left every sensible range.
        """
        self.pixels.grad = gradient
        self._move(losses, iteration)
        return self.progress(iteration, {name: loss.detach() for name, loss in losses.items()})

    def _snapshot(self) -> SyntheticSet:
        pixels = self.pixels.detach().clone()
        return SyntheticSet(pixels, self.labels.to(pixels.device, copy=True), self._class_names)


def paired_means(
    task: Task,
    features: RandomFeatures,
    real: ClassBatches,
    synthetic: SyntheticImages,
    generators: Generators,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Class means [classes, d] a layer of a real batch, and of all synthetic images with their graph.

    Both kinds of images of a class are augmented by the same draw.
    """
    source, train = generators["augmentation"], task.train
    siamese = draw(task.augmentation, train.num_classes, train.image_shape, source, shared_op=False)
    with torch.no_grad():
        batch = augment(real.draw(generators["batches"]), siamese, real.labels)
        real_means = features.class_means(batch, real.averaging)
    augmented = augment(synthetic.pixels, siamese, synthetic.labels)
    return real_means, features.class_means(augmented, synthetic.averaging)
