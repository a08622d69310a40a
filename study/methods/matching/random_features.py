"""Class-mean features of a random network: stacked, in chunks that fit the cache, in reduced precision, compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from study.core.chunks import even_sizes, fitting
from study.core.programs import ProgramCache, go_on_plain
from study.methods.base import Task
from study.models.instance_norm import replace_instance_norms
from study.models.network import Network, mixes_images
from study.models.work import work_of_model, worth_compiling

Extract = Callable[[Network, Tensor], tuple[Tensor, ...]]
"""Features of images [n, C, H, W], one row an image: a tuple of [n, d], one entry a layer."""

ClassMeans = Callable[[Tensor, Tensor], tuple[Tensor, ...]]

GRAPH_MAPS = 6
"""What backpropagation keeps of an image, in bytes of its feature maps; measured on ConvNet-7."""

# A compiled program reads its parameters from the network it was traced with, so both are kept.
_compiled: ProgramCache[tuple[Network, ClassMeans]] = ProgramCache(8)


def embedding(network: Network, images: Tensor) -> tuple[Tensor, ...]:
    """The flattened features before the classifier, as the only layer."""
    return (network.embed(images),)


def averaging_matrix(labels: Tensor, num_classes: int) -> Tensor:
    """Matrix [classes, n] float32 that turns features of n images into class means; every class needs one."""
    member = torch.nn.functional.one_hot(labels, num_classes).T.float()
    return member / member.sum(1, keepdim=True)


class RandomFeatures:
    """A frozen random network, drawn anew in each iteration, that gives class means of its features.

    Convolutions run in the compute type, sums over images in float32. All classes share one stacked pass, in
    chunks that fit the cache; batch norm gets a single chunk, so that it sees the mixture.
    """

    def __init__(self, task: Task, extract: Extract = embedding) -> None:
        """Build the network of a task.

        Compiled programs are kept by ``extract``, which is to be hashable and equal where it does the same.
        """
        self.compute = task.compute
        self._key = (task.model, task.train.image_shape, task.train.num_classes, task.compute, extract)
        self._extract = extract
        self._network = _build_network(task)
        self._class_means: ClassMeans = _class_means_of(self._network, extract)
        self._work = work_of_model(task.model, task.train.image_shape, task.train.num_classes)
        largest = self._work.largest_feature_map * task.compute.dtype.itemsize
        self.chunk_size = (
            None if mixes_images(self._network) else fitting("features", largest, task.compute.device)
        )

    def redraw(self, generator: torch.Generator) -> None:
        """Give the network fresh random parameters."""
        self._network.reset_parameters(generator)

    @torch.no_grad()
    def load(self, network: Network) -> None:
        """Take over the parameters of another network of the same architecture, in the compute type."""
        for mine, its in zip(self._network.parameters(), network.parameters(), strict=True):
            mine.copy_(its)

    def class_means(self, images: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """Mean features [classes, d] float32 of images [n, C, H, W] float32, for each extracted layer.

        Gradient flows to the images, never to the network. ``averaging`` is from :func:`averaging_matrix`.
        """
        images = images.to(self.compute.dtype, memory_format=torch.channels_last)
        sizes = self._split(len(images))
        chunks = zip(torch.split(images, sizes), torch.split(averaging, sizes, dim=1), strict=True)
        run = self._class_means
        if self._rebuilds(images):
            run = partial(checkpoint, run, use_reentrant=False)
        parts = [run(chunk, weights) for chunk, weights in chunks]
        return tuple(reduce(torch.add, of_layer) for of_layer in zip(*parts, strict=True))

    def compile_for(self, num_iterations: int, num_real: int, num_synthetic: int) -> bool:
        """Compile both passes where that many iterations earn it back; says whether compiled ones will run.

        An iteration passes ``num_real`` images without gradient and ``num_synthetic`` with one. Where the
        compiler fails, plain programs stay; ConfigError where ``compute.compile`` is ``on``.
        """
        load = self._work.features(num_real, num_synthetic) * num_iterations
        if not worth_compiling("features", self.compute, load):
            return False
        plain = self._network, self._class_means
        self._network, self._class_means = _compiled.get(
            self._key, lambda: (plain[0], torch.compile(plain[1], dynamic=False))
        )
        try:
            self._warm_up(num_real, num_synthetic)
        except RuntimeError as error:
            _compiled.forget(self._key)
            self._network, self._class_means = plain
            go_on_plain(error, demanded=self.compute.compile == "on")
            return False
        return True

    def _warm_up(self, num_real: int, num_synthetic: int) -> None:
        """Run each program once, backwards too, so that a broken compiler shows before anything counts."""
        num_classes = self._network.num_classes
        for num_images, needs_grad in ((num_real, False), (num_synthetic, True)):
            for size in sorted(set(self._split(num_images))):
                images = torch.zeros(
                    (size, *self._network.image_shape), device=self.compute.device, requires_grad=needs_grad
                )
                weights = torch.ones(num_classes, size, device=self.compute.device)
                with torch.set_grad_enabled(needs_grad):
                    parts = self.class_means(images, weights)
                if needs_grad:
                    torch.autograd.grad([part.sum() for part in parts], images)

    def _rebuilds(self, images: Tensor) -> bool:
        """Whether the graph of all chunks is too large to keep, so that each is built again backwards."""
        if not (images.requires_grad and torch.is_grad_enabled()) or self.chunk_size is None:
            return False
        kept_of_image = GRAPH_MAPS * self._work.all_feature_maps * self.compute.dtype.itemsize
        kept = fitting("features graph", kept_of_image, images.device)
        return len(images) > kept

    def _split(self, num_images: int) -> list[int]:
        return even_sizes(num_images, self.chunk_size or num_images)


def _build_network(task: Task) -> Network:
    """A network that takes channels-last images of the compute type; parameters are drawn later."""
    compute, network = task.compute, task.network()
    network.requires_grad_(False).to(memory_format=torch.channels_last)
    for module in network.modules():
        # Converted once an iteration instead of once a chunk, as autocast would. Norms stay float32.
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(compute.dtype)
        if isinstance(module, nn.ReLU):
            module.inplace = True
    if compute.device.type == "cpu":
        replace_instance_norms(network)
    return network


def _class_means_of(network: Network, extract: Extract) -> ClassMeans:
    compute_type = next(network.parameters()).device.type

    def class_means(images: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        # On accelerators norms refuse maps and parameters of different types unless autocast mediates.
        mediates = compute_type != "cpu" and images.dtype is torch.bfloat16
        with torch.autocast(compute_type, dtype=torch.bfloat16, enabled=mediates):
            features = extract(network, images)
        return tuple(averaging @ feature.float() for feature in features)

    return class_means
