"""The base class of distillation methods, and the table in which they are found by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import Field

from study.core.config import Frozen
from study.core.device import Compute
from study.core.plugins import Registry
from study.core.records import ImageDataset, Progress
from study.core.seeding import Generators
from study.core.spaces import Space
from study.data.augment import AugmentationConfig
from study.methods.hooks import Estimate, Figure, Preparation
from study.methods.initialize import Initialization
from study.models.network import Network
from study.models.pool import ModelConfig, build_model
from study.models.work import Loads, Work, work_of_model


class MethodConfig(Frozen):
    """Settings every method shares; each method's own class extends it."""

    num_iterations: int = Field(1000, ge=0)
    """Updates of the synthetic images; 0 leaves the initialisation as it is."""
    init: Initialization = "real"
    """Where the synthetic images start: ``real``, ``noise`` or ``real+noise``."""
    pixel_range: float | None = Field(None, ge=0)
    """How far a learned pixel may leave the range of its channel in the real training images, in widths of that range;
    what goes farther is put back after each update. 0 keeps to the range; None, as published, sets no limit."""


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


@dataclass(frozen=True)
class TaskSize:
    """What counting the work of a method takes.

    Attributes:
        image_shape: channels, height, width.
        class_counts: real training images of each class.
        ipc: synthetic images per class.
        model: the network.
    """

    image_shape: tuple[int, int, int]
    class_counts: tuple[int, ...]
    ipc: int
    model: ModelConfig

    @property
    def num_images(self) -> int:
        """Real training images."""
        return sum(self.class_counts)

    @property
    def num_synthetic(self) -> int:
        """Images of the set."""
        return len(self.class_counts) * self.ipc

    @property
    def work(self) -> Work:
        """What one image costs the network."""
        return work_of_model(self.model, self.image_shape, len(self.class_counts))

    def num_drawn(self, batch_size: int) -> int:
        """Images of a real batch with ``batch_size`` of every class, or all that a class has."""
        return sum(min(batch_size, count) for count in self.class_counts)


@dataclass(frozen=True)
class Task:
    """What a method may see: training images and how to build a network, never validation or test.

    Attributes:
        train: real training images, normalised, on the compute device.
        ipc: synthetic images per class.
        model: the network whose features, gradients or trajectories are matched.
        augmentation: the differentiable Siamese augmentation of matching; strategy ``none`` turns it off.
        compute: device, precision and compilation.
    """

    train: ImageDataset
    ipc: int
    model: ModelConfig
    augmentation: AugmentationConfig
    compute: Compute

    @property
    def size(self) -> TaskSize:
        """What counting its work takes."""
        train = self.train
        return TaskSize(train.image_shape, tuple(train.class_counts()), self.ipc, self.model)

    def network(self, generator: torch.Generator | None = None) -> Network:
        """A fresh network for these images on the device, drawn from a generator; by default from seed 0."""
        source = torch.Generator().manual_seed(0) if generator is None else generator
        train = self.train
        return build_model(self.model, train.image_shape, train.num_classes, source, self.compute.device)


class Method(ABC, Generic[ConfigT]):
    """A distillation method: mathematics only, driven by the loop in :mod:`study.runs`.

    A file that defines one subclass and decorates it with :func:`register` is a complete method. It lies in
    ``study/methods``, or anywhere an entry point of the group ``study.methods`` leads to::

        @register
        class Copies(Method[MethodConfig]):
            name = "copies"
            Config = MethodConfig

            def distill(self, task, generators):
                images, labels = initialize(self.config.init, task.train, task.ipc, generators["init"])
                yield Progress(0, {}, lambda: SyntheticSet(images.clone(), labels, task.train.class_names))

    ``study.testing.MethodContract`` checks what is promised here.
    """

    name: ClassVar[str]
    """The name users write after ``--method``."""
    Config: ClassVar[type[MethodConfig]]
    """Its settings; published values are the defaults."""
    space: ClassVar[Space] = {}
    """What a search varies unless a recipe or the command line says otherwise."""
    smoke: ClassVar[Mapping[str, Any]] = {}
    """Settings below ``distill`` with which a test takes seconds: the budget ``smoke``."""
    preparation_settings: ClassVar[tuple[str, ...]] = ()
    """Tables below ``distill`` that decide what :meth:`prepare` makes; trials that agree in them share it."""

    def __init__(self, config: ConfigT, searched: Space | None = None) -> None:
        """Keep the configuration; nothing is computed before :meth:`distill`.

        What is prepared has to serve every trial that varies the ``searched`` settings, by default none.
        """
        self.config = config
        self.searched: Space = searched or {}

    @abstractmethod
    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield once after each update of the synthetic images.

        The first item has iteration 0, holds the starting point and has no losses; a coreset stops
        there. All randomness comes from ``generators``; ``task`` is left unchanged.
        """

    def prepare(self, task: Task, generators: Generators) -> Preparation:
        """Make what :meth:`distill` with the same arguments looks up, such as experts; by default nothing.

        It depends on the seed of ``generators``, not on what was drawn. What takes long is counted
        by :func:`study.core.reporting.work`, so that whoever waits sees how long.
        """
        return Preparation()

    def prepared_bytes(self, task: Task) -> int:
        """What :meth:`prepare` keeps on disk, by counting alone; by default nothing."""
        return 0

    def estimate(self, task: Task, generators: Generators) -> Estimate:
        """What :meth:`prepare` would cost, from counting alone."""
        return Estimate()

    def iteration_loads(self, size: TaskSize) -> Loads:
        """Counted work of one iteration of :meth:`distill`, by which budgets choose how many there are.

        By default a training step on the whole set and a look at 256 real images.
        """
        work = size.work
        return {"evaluation": work.training(size.num_synthetic), "prediction": work.prediction(256)}

    def preparation_loads(self, size: TaskSize) -> Loads:
        """Counted work of :meth:`prepare` where nothing is cached; by default none."""
        return {}

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """The iterations of :meth:`distill` without the preparation: for timing, not for a set."""
        return self.distill(task, generators)

    def figures(self, task: Task, generators: Generators) -> Sequence[Figure]:
        """Numbers to draw before distilling; by default none."""
        return ()

    def layer_weights(self, model: ModelConfig, image_shape: tuple[int, int, int]) -> dict[str, float]:
        """Weight of each layer in the loss, first layer first, with mean 1; empty where layers have none.

        They come from a setting ``layer_weights`` by layer name, searched as ``distill.layer_weights.*``.
        """
        return {}


METHODS: Registry[type[Method[Any]]] = Registry("method", "study.methods", "study.methods")
"""Every method by name, those of installed plug-ins included."""

MethodT = TypeVar("MethodT", bound=type[Method[Any]])


def register(method: MethodT) -> MethodT:
    """Class decorator that enters a method into :data:`METHODS`; a name taken twice is an error."""
    METHODS.register(method.name, method, f"{method.__module__}.{method.__qualname__}")
    return method


def find_method(name: str) -> type[Method[Any]]:
    """The method of that name.

    Raises:
        UnknownNameError: there is none; the message lists them all.
        ConfigError: a plug-in cannot be loaded.
    """
    return METHODS.find(name)
