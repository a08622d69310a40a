"""FRePo: images and labels from which a ridge regression on features of trained networks predicts real images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from study.core.chunks import fitting
from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.initialize import initialize
from study.methods.learned import LearnedImages
from study.methods.matching.kernel_regression import (
    centred_targets,
    kernel_prediction,
    label_margin_loss,
    regression_loss,
)
from study.methods.matching.lamb import LAMB
from study.methods.matching.real_batches import ClassBatches
from study.models.instance_norm import replace_instance_norms
from study.models.network import Network, mixes_images
from study.models.work import Loads, work_of

LAST_RATE = 0.1
"""Share of the rate at which the cosine ends."""
MOST_TRAINED = 1000
"""Images of the set, at most, that a step of a network sees."""


class FRePoConfig(MethodConfig):
    """Settings of FRePo; the published values are the defaults."""

    num_iterations: int = Field(500_000, ge=0)
    image_lr: float = Field(3e-4, gt=0)
    """Of LAMB: an update moves pixels and labels by this share of their norms. It falls to a tenth by a cosine."""
    batch_real: int = Field(1024, ge=1)
    """Real images of an iteration, as many of every class; a smaller class gives all it has."""
    num_networks: int = Field(10, ge=1)
    """Networks of the pool (m), of which an iteration takes one at random."""
    num_model_steps: int = Field(100, ge=0)
    """Steps of a network on the set before it is drawn anew (K)."""
    model_lr: float = Field(3e-4, gt=0)
    """Of these steps, by Adam."""
    learn_labels: bool = True
    """Learn the labels with the images; off keeps them, and the set has hard ones."""
    label_scale: float = Field(5.0, gt=0)
    """What learned labels are multiplied by to be kept as logits of a softmax; while learning, it plays no part."""
    mirror: bool = False
    """Regress on the mirror images too; published for CIFAR, not for digits."""


@register
class FRePo(Method[FRePoConfig]):
    """Dataset distillation by neural feature regression with a pool of networks.

    Each iteration predicts a batch of real images by a kernel ridge regression, in closed form, on the set as one
    network of a pool sees it; the error moves images and labels. The network then takes one step on the set, and is
    drawn anew once it is old. There is no augmentation.

    Source: Zhou, Nezhadarya and Ba 2022, "Dataset Distillation using Neural Feature Regression". Departs from it:
        batches have as many images of every class, and learned labels are kept as logits of a softmax, that is
        ``label_scale`` times the regression targets, where the released evaluation regresses on the targets.
    """

    name: ClassVar[str] = "frepo"
    Config: ClassVar[type[MethodConfig]] = FRePoConfig
    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=1e-3, high=3e-2, log=True),
        "distill.num_model_steps": Range(kind="int", low=20, high=200, log=True),
        "distill.label_scale": Range(low=2.0, high=20.0, log=True),
        "distill.learn_labels": Choice(choices=(True, False)),
    }
    smoke: ClassVar[Mapping[str, Any]] = {"num_iterations": 8, "batch_real": 64, "num_networks": 2}

    def iteration_loads(self, size: TaskSize) -> Loads:
        """A real batch and the set through one network, and that network's step."""
        config, num_classes = self.config, len(size.class_counts)
        copies = 2 if config.mirror else 1
        drawn = size.num_drawn(_of_class(config.batch_real, num_classes))
        trained = min(size.num_synthetic, MOST_TRAINED)
        return {
            "features": size.work.features(drawn, copies * size.num_synthetic),
            "evaluation": size.work.training(trained),
        }

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration.

        Losses: ``match/loss``, the sum of ``match/prediction``, the error on real images, and ``match/margin``, by
        which learned labels miss their distance. Time: a forward pass of the real batch, three of the set for its
        gradient and three for the network's step. Memory: the pool, with two moments a parameter.
        """
        config, train = self.config, task.train
        synthetic = _RegressionSet(config, task, generators["init"])
        yield synthetic.progress(0)
        real = ClassBatches(train, _of_class(config.batch_real, train.num_classes))
        wanted = centred_targets(real.labels, train.num_classes).to(train.images.device)
        weights = real.averaging.mean(0)  # every class counts the same, however many images it has
        pool = NetworkPool(config, task, generators["networks"])
        for iteration in range(1, config.num_iterations + 1):
            chosen = pool.draw(generators["pool"])
            with torch.no_grad():
                queries = pool.features(chosen, real.draw(generators["batches"]))
            images, targets = synthetic.pixels, synthetic.targets
            if config.mirror:
                images, targets = torch.cat([images, images.flip(3)]), torch.cat([targets, targets])
            prediction = kernel_prediction(pool.features(chosen, images), targets, queries)
            losses = {"match/prediction": regression_loss(prediction, wanted, weights)}
            losses["match/loss"] = losses["match/prediction"]
            if config.learn_labels:
                losses["match/margin"] = label_margin_loss(synthetic.targets)
                losses["match/loss"] = losses["match/prediction"] + losses["match/margin"]
            yield synthetic.step(losses, iteration)
            pool.advance(chosen, synthetic, generators)


class _RegressionSet(LearnedImages):
    """Images and regression targets, moved by LAMB."""

    def __init__(self, config: FRePoConfig, task: Task, generator: torch.Generator) -> None:
        images, labels = initialize(config.init, task.train, task.ipc, generator)
        num_classes = task.train.num_classes
        self._config, self._class_names = config, task.train.class_names
        self.pixels, self.labels = images.requires_grad_(), labels
        self.targets = centred_targets(labels, num_classes) / math.sqrt(num_classes / 10)
        self.targets.requires_grad_(config.learn_labels)
        self._learned = [self.pixels, self.targets] if config.learn_labels else [self.pixels]
        self._optimizer = LAMB(self._learned, config.image_lr)
        self.bound(config.pixel_range, task.train)

    def step(self, losses: Mapping[str, Tensor], iteration: int) -> Progress:
        """Descend along the gradient of ``match/loss``, at the rate of this iteration."""
        gradients = torch.autograd.grad(losses["match/loss"], self._learned)
        for learned, gradient in zip(self._learned, gradients, strict=True):
            learned.grad = gradient
        share = 0.5 * (1 + math.cos(math.pi * (iteration - 1) / self._config.num_iterations))
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.image_lr * (LAST_RATE + (1 - LAST_RATE) * share)
        self._move(losses, iteration)
        return self.progress(iteration, {name: loss.detach() for name, loss in losses.items()})

    def _snapshot(self) -> SyntheticSet:
        logits = self._config.label_scale * self.targets.detach() if self._config.learn_labels else None
        return SyntheticSet(self.pixels.detach().clone(), self.labels.clone(), self._class_names, logits)


class NetworkPool:
    """Networks of different ages, each trained on the set by one step after every use.

    Attributes:
        networks: float32; of the parameters no gradient is kept.
        ages: steps of each since it was drawn. They begin apart, so that not all are drawn anew at once.
    """

    def __init__(self, config: FRePoConfig, task: Task, generator: torch.Generator) -> None:
        """Draw all networks."""
        number = config.num_networks
        self._config, self._compute = config, task.compute
        self.networks: list[Network] = [task.network(generator) for _ in range(number)]
        if task.compute.device.type == "cpu":
            for network in self.networks:
                replace_instance_norms(network)
        self.ages = [config.num_model_steps // number * index for index in range(number)]
        self._optimizers = [self._optimizer(network) for network in self.networks]
        largest = work_of(self.networks[0]).largest_feature_map * task.compute.dtype.itemsize
        self._chunk = fitting("features", largest, task.compute.device)

    def draw(self, generator: torch.Generator) -> int:
        """Which network comes next."""
        return int(torch.randint(len(self.networks), (1,), generator=generator, device=generator.device))

    def features(self, index: int, images: Tensor) -> Tensor:
        """Embeddings [n, d] float32 of images [n, C, H, W], not augmented; gradient flows to the images alone."""
        network = self.networks[index].eval()
        size = len(images) if mixes_images(network) else self._chunk
        images = images.to(memory_format=torch.channels_last)
        with self._compute.autocast():
            return torch.cat([network.embed(part).float() for part in torch.split(images, size)])

    def advance(self, index: int, synthetic: _RegressionSet, generators: Generators) -> None:
        """Train a network by one step, or draw it anew where it has had more than its steps."""
        network = self.networks[index]
        if self.ages[index] > self._config.num_model_steps:
            network.reset_parameters(generators["networks"])
            self._optimizers[index], self.ages[index] = self._optimizer(network), 0
            return
        images, targets = synthetic.pixels.detach(), synthetic.targets.detach()
        if len(images) > MOST_TRAINED:
            source = generators["training"]
            order = torch.randperm(len(images), generator=source, device=source.device)[:MOST_TRAINED]
            images, targets = images[order.to(images.device)], targets[order.to(images.device)]
        images = images.to(memory_format=torch.channels_last)
        with self._compute.autocast():
            output = network.train()(images).float()
        loss = 0.5 * (output - targets).square().sum(1).mean()
        parameters = list(network.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self._optimizers[index].step()
        self._optimizers[index].zero_grad()
        self.ages[index] += 1

    def _optimizer(self, network: Network) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self._config.model_lr)


def _of_class(batch_size: int, num_classes: int) -> int:
    """Images of each class in a batch of that many."""
    return max(1, round(batch_size / num_classes))
