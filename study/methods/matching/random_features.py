"""Class-mean features of a random network: stacked, in chunks that fit the cache, in reduced precision, compiled."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import Compute
from study.core.errors import ConfigError
from study.methods.base import Task
from study.models.instance_norm import replace_instance_norms
from study.models.pool import ModelConfig, Network, build_model

__all__ = ["Extract", "RandomFeatures", "averaging_matrix", "embedding"]

Extract = Callable[[Network, Tensor], tuple[Tensor, ...]]
"""Features of images [n, C, H, W], one row an image: a tuple of [n, d], one entry a layer."""

ClassMeans = Callable[[Tensor, Tensor], tuple[Tensor, ...]]

CHUNK_BYTES_PER_THREAD = 2 << 20
"""Largest activation of one chunk on a CPU, a thread: it should stay in the cache between convolution and
pool. 16 MNIST images at width 128 on two threads, measured as the best of 8, 16, 32, 64 and 128."""
CHUNK_BYTES_OF_ACCELERATOR = 1 << 30

GRAPH_MAPS = 6
"""What backpropagation keeps of an image, in bytes of its feature maps; measured on ConvNet-7."""
MAX_GRAPH_BYTES = 2 << 30
"""Above it each chunk's graph is built again in the backward pass: a third more time, the memory of a chunk."""

NOMINAL_FLOPS_PER_THREAD = {torch.bfloat16: 1.5e11, torch.float32: 7e10}
NOMINAL_FLOPS_OF_ACCELERATOR = 2e13

MAX_COMPILED = 8
_log = logging.getLogger(__name__)
_cache = threading.local()


def embedding(network: Network, images: Tensor) -> tuple[Tensor, ...]:
    """The flattened features before the classifier, as the only layer."""
    return (network.embed(images),)


def averaging_matrix(labels: Tensor, num_classes: int) -> Tensor:
    """Matrix [classes, n] float32 that turns features of n images into class means.

    Args:
        labels: [n] int64; every class needs an image.
        num_classes: rows of the matrix.
    """
    member = torch.nn.functional.one_hot(labels, num_classes).T.float()
    return member / member.sum(1, keepdim=True)


class RandomFeatures:
    """A frozen random network, drawn anew in each iteration, that gives class means of its features.

    Convolutions run in the compute type, sums over images in float32. All classes share one stacked
    pass, cut into chunks; where a norm looks across images (batch norm) there is a single chunk, so
    that it sees the mixture.
    """

    def __init__(self, task: Task, extract: Extract = embedding) -> None:
        """Build the network.

        Args:
            task: gives network, image shape and compute.
            extract: which features; hashable and equal where it does the same, such as a function defined
                at module level, since compiled programs are kept by it for as long as the process.
        """
        self.compute = task.compute
        self._key = (task.model, task.train.image_shape, task.train.num_classes, task.compute, extract)
        self._extract = extract
        self._network = _build_network(task.model, task)
        self._mixes_images = any(isinstance(module, nn.BatchNorm2d) for module in self._network.modules())
        self._class_means: ClassMeans = _class_means_of(self._network, extract)
        largest, self._map_bytes = self._measure_maps()
        self.chunk_size: int | None = None if self._mixes_images else self._fitting_chunk(largest)

    def redraw(self, generator: torch.Generator) -> None:
        """Give the network fresh random parameters."""
        self._network.reset_parameters(generator)

    @torch.no_grad()
    def load(self, network: Network) -> None:
        """Take over the parameters of another network of the same architecture, in the compute type."""
        for mine, its in zip(self._network.parameters(), network.parameters(), strict=True):
            mine.copy_(its)

    def class_means(self, images: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """Mean features of each class.

        Args:
            images: [n, C, H, W] float32; gradient flows to them, never to the network.
            averaging: [classes, n] from :func:`averaging_matrix`.

        Returns:
            [classes, d] float32 for each layer that is extracted.
        """
        images = images.to(self.compute.dtype, memory_format=torch.channels_last)
        sizes = self._split(len(images))
        chunks = zip(torch.split(images, sizes), torch.split(averaging, sizes, dim=1), strict=True)
        totals: tuple[Tensor, ...] | None = None
        rebuilds = self._rebuilds(images)
        for chunk, weights in chunks:
            if rebuilds:
                found = checkpoint(self._class_means, chunk, weights, use_reentrant=False)
                parts: tuple[Tensor, ...] = found
            else:
                parts = self._class_means(chunk, weights)
            totals = parts if totals is None else tuple(a + b for a, b in zip(totals, parts, strict=True))
        assert totals is not None
        return totals

    def compile_for(self, num_iterations: int, num_real: int, num_synthetic: int) -> bool:
        """Compile both passes where that many iterations are long enough to earn it back.

        The length is counted work at a nominal rate, not a measured time: compiled and plain programs
        differ in their last bits, and a clock that chose between them would make runs unrepeatable.

        Args:
            num_iterations: passes to come.
            num_real: images of a pass without gradient.
            num_synthetic: images of a pass with gradient.

        Returns:
            Whether compiled programs will run. Where the compiler fails although it looked usable, plain
            ones stay in place, unless compilation was demanded.

        Raises:
            ConfigError: ``compute.compile`` is ``on`` and the compiler fails.
        """
        flops = num_real * self._flops + 3 * num_synthetic * self._flops
        if not self.compute.should_compile(num_iterations * flops / _nominal_rate(self.compute)):
            return False
        programs = _compiled_programs()
        if self._key not in programs:
            # A compiled program reads its parameters from the network it was traced with, so both are kept.
            network = self._network
            programs[self._key] = (
                network,
                torch.compile(_class_means_of(network, self._extract), dynamic=False),
            )
            while len(programs) > MAX_COMPILED:
                programs.popitem(last=False)
        plain = self._network, self._class_means
        self._network, self._class_means = programs[self._key]
        try:
            self._warm_up(num_real, num_synthetic)
        except RuntimeError as error:
            del programs[self._key]
            self._network, self._class_means = plain
            if self.compute.compile == "on":
                raise ConfigError(f"compute.compile = 'on', but compiling failed: {error}") from error
            _log.warning("compiling failed, going on without: %s", str(error).partition("\n")[0])
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
        """Whether the graph of all chunks together would be too large to keep, and each is built again backwards."""
        if not (images.requires_grad and torch.is_grad_enabled()) or self.chunk_size is None:
            return False
        return len(images) * GRAPH_MAPS * self._map_bytes > MAX_GRAPH_BYTES

    def _split(self, num_images: int) -> list[int]:
        return _chunk_sizes(num_images, self.chunk_size or num_images)

    def _measure_maps(self) -> tuple[int, int]:
        """Bytes of the largest activation of one image, and of all that are visible from outside."""
        # Two images, since batch norm cannot take one where a map has shrunk to one pixel.
        images = torch.cat([self._one_image()] * 2)
        with torch.no_grad():
            try:
                maps = self._network.feature_maps(images)
            except ConfigError:  # no convolutions, so nothing is larger than image and embedding
                maps = [images, self._network.embed(images)]
        sizes = [one[0].numel() * one.element_size() for one in maps]
        return max(sizes), sum(sizes)

    def _fitting_chunk(self, largest: int) -> int:
        on_cpu = self.compute.device.type == "cpu"
        room = CHUNK_BYTES_PER_THREAD * torch.get_num_threads() if on_cpu else CHUNK_BYTES_OF_ACCELERATOR
        return max(1, room // largest)

    @property
    def _flops(self) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            # Two images, since batch norm cannot take one where a map has shrunk to one pixel.
            self._network.embed(torch.cat([self._one_image()] * 2))
        return int(counter.get_total_flops()) // 2

    def _one_image(self) -> Tensor:
        shape = (1, *self._network.image_shape)
        return torch.zeros(shape, dtype=self.compute.dtype, device=self.compute.device)


def _build_network(model: ModelConfig, task: Task) -> Network:
    """A network that takes channels-last images of the compute type; parameters are drawn later."""
    compute, placeholder = task.compute, torch.Generator().manual_seed(0)
    network = build_model(model, task.train.image_shape, task.train.num_classes, placeholder, compute.device)
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


def _compiled_programs() -> OrderedDict[object, tuple[Network, ClassMeans]]:
    """Compiled programs of this thread: trials of one search differ in numbers, not in shapes."""
    if not hasattr(_cache, "programs"):
        _cache.programs = OrderedDict()
    programs: OrderedDict[object, tuple[Network, ClassMeans]] = _cache.programs
    return programs


def _chunk_sizes(num_images: int, target: int) -> list[int]:
    """Sizes that sum to ``num_images``: equal ones near the target if possible, else a smaller last one."""
    near = range(min(num_images, target * 3 // 2), max(1, target // 2) - 1, -1)
    even = [size for size in near if num_images % size == 0]
    size = min(even, key=lambda size: abs(size - target), default=min(target, num_images))
    full, rest = divmod(num_images, size)
    return [size] * full + ([rest] if rest else [])


def _nominal_rate(compute: Compute) -> float:
    """Rough floating-point operations a second of an uncompiled pass."""
    if compute.device.type == "cpu":
        return NOMINAL_FLOPS_PER_THREAD[compute.dtype] * torch.get_num_threads()
    return NOMINAL_FLOPS_OF_ACCELERATOR
