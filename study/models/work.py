"""What a network costs: work and activations of one image, counted on shapes, and their time at a nominal rate."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from study.core.device import Compute
from study.core.errors import ConfigError
from study.models.network import Network, mixes_images
from study.models.pool import ModelConfig, build_model

Loop = Literal["evaluation", "features", "student", "experts", "prediction"]


@dataclass(frozen=True)
class Load:
    """Counted work of a loop: its steps, and what all of them together compute and write.

    Attributes:
        steps: turns of the loop.
        flops: of matrix products and convolutions, forwards and backwards.
        elements: of feature maps, as often as they are gone through.

    Example:
        >>> Load(1, 4e9, 1e6) * 3 + Load(2)
        Load(steps=5, flops=12000000000.0, elements=3000000.0)
    """

    steps: float = 0
    flops: float = 0
    elements: float = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.steps + other.steps, self.flops + other.flops, self.elements + other.elements)

    def __mul__(self, times: float) -> Load:
        return Load(self.steps * times, self.flops * times, self.elements * times)


Loads = Mapping[Loop, Load]
"""Counted work by the loop that does it."""


@dataclass(frozen=True)
class Work:
    """What one image costs a network, whatever its parameters.

    FLOPs are those of matrix products and convolutions, two a multiplication with addition.

    Attributes:
        mixes_images: whether one image's logits depend on the others of its batch.
        forward_flops: of a forward pass.
        embedding_flops: of it without the classifier.
        training_flops: forwards and backwards in training.
        largest_map: elements of the largest tensor that any module gives.
        largest_feature_map: elements of the largest feature map that is visible from outside.
        all_feature_maps: elements of these maps together; image and embedding where there are none.
        activations: elements of what every layer gives.
    """

    mixes_images: bool
    forward_flops: int
    embedding_flops: int
    training_flops: int
    largest_map: int
    largest_feature_map: int
    all_feature_maps: int
    activations: int

    def training(self, num_images: float, num_steps: float = 1) -> Load:
        """Training steps that see so many images each."""
        seen = num_steps * num_images
        return Load(num_steps, seen * self.training_flops, seen * self.activations)

    def prediction(self, num_images: float) -> Load:
        """Forward passes of so many images, in large batches."""
        return Load(0, num_images * self.forward_flops, num_images * self.activations)

    def features(self, num_real: float, num_synthetic: float) -> Load:
        """Embedding real images without a gradient and synthetic ones with it."""
        passes = num_real + 3 * num_synthetic
        return Load(1, passes * self.embedding_flops, passes * self.activations)

    def student(self, num_images: float, num_steps: float = 1) -> Load:
        """Student steps that see so many images each, and the way back through them."""
        seen = num_steps * num_images
        return Load(
            num_steps, STUDENT_PASSES * seen * self.embedding_flops, STUDENT_MAPS * seen * self.activations
        )


STUDENT_PASSES = 12
"""Forward passes that a step of a student and the way back through it cost together."""
STUDENT_MAPS = 4
"""How often they go through all feature maps, in the unit in which a training step does once."""


@functools.cache
def work_of_model(model: ModelConfig, image_shape: tuple[int, int, int], num_classes: int) -> Work:
    """What one image costs a network of an architecture, counted once."""
    return _count(build_model(model, image_shape, num_classes))


_counted: weakref.WeakKeyDictionary[Network, Work] = weakref.WeakKeyDictionary()


def work_of(network: Network) -> Work:
    """What one image costs a network, which is left as it is; counted once a network."""
    if network not in _counted:
        _counted[network] = _count(network)
    return _counted[network]


@torch.no_grad()
def _count(network: Network) -> Work:
    shapes = copy.deepcopy(network).to("meta").eval()
    # Two images, since batch norm cannot be trained on one.
    images = torch.empty(2, *network.image_shape, device="meta")
    labels = torch.empty(2, dtype=torch.int64, device="meta")
    sizes, of_layers = [0], [0]

    def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output[:1].numel())
            if not any(module.children()):
                of_layers.append(sizes[-1])

    hooks = [module.register_forward_hook(measure) for module in shapes.modules()]
    with FlopCounterMode(display=False) as forward:
        shapes(images)
    for hook in hooks:
        hook.remove()
    with FlopCounterMode(display=False) as training, torch.enable_grad():
        functional.cross_entropy(shapes.train()(images), labels).backward()  # type: ignore[no-untyped-call]
    try:
        maps = shapes.feature_maps(images)
    except ConfigError:  # no convolutions, so nothing is larger than image and embedding
        maps = [images, shapes.embed(images)]
    feature_maps = [one[0].numel() for one in maps]
    return Work(
        mixes_images=mixes_images(network),
        forward_flops=forward.get_total_flops() // 2,
        embedding_flops=forward.get_total_flops() // 2 - 2 * network.classifier.weight.numel(),
        training_flops=training.get_total_flops() // 2,
        largest_map=max(sizes),
        largest_feature_map=max(feature_maps),
        all_feature_maps=sum(feature_maps),
        activations=sum(of_layers),
    )


@dataclass(frozen=True)
class NominalRate:
    """Rough speed of one CPU thread in an uncompiled loop, and when compiling it pays.

    Attributes:
        flops: a second, with bfloat16 where the loop may use it.
        elements: of feature maps, a second.
        overhead: seconds of a step, however small.
        break_even: seconds of a whole loop above which it is compiled.
    """

    flops: float
    elements: float
    overhead: float
    break_even: float = float("inf")


NOMINAL_RATES: dict[Loop, NominalRate] = {
    "evaluation": NominalRate(1.6e11, 6e8, 3.5e-3, break_even=120.0),
    "features": NominalRate(2.5e11, 1.2e9, 4e-3, break_even=90.0),
    "student": NominalRate(7.7e10, 2.6e8, 6e-3, break_even=300.0),
    "experts": NominalRate(4e11, 3.85e8, 1e-3),
    "prediction": NominalRate(5e11, 1.1e9, 0.0),
}
"""Fitted to `experiments/results/nominal_rates.json`; the benchmark of that name prints measured beside expected."""

NOMINAL_THREADS = 2
"""Of the machine that budgets are stated for."""
ALWAYS_FLOAT32: tuple[Loop, ...] = ("student",)
FLOAT32_SPEED = 0.4
"""What a CPU without bfloat16 does of these rates."""
ACCELERATOR_SPEED = 60.0
"""What an accelerator does of those of one thread: a guess, since none was there to measure."""


def expected_seconds(loop: Loop, compute: Compute, load: Load) -> float:
    """Rough time of a loop on this machine, uncompiled, at a nominal rate.

    No clock decides: compiled programs differ in their last bits, so a measured time could give two results
    on a busy and on an idle machine.
    """
    if compute.device.type != "cpu":
        return _seconds(loop, load, ACCELERATOR_SPEED)
    reduced = loop in ALWAYS_FLOAT32 or compute.dtype is torch.bfloat16
    return _seconds(loop, load, torch.get_num_threads() * (1.0 if reduced else FLOAT32_SPEED))


def nominal_seconds(loads: Loads) -> float:
    """Rough time of counted work on the nominal machine, whatever machine this is: two CPU threads with bfloat16.

    >>> round(nominal_seconds({"evaluation": Load(200, 4e11, 2e9)}), 2)
    3.62
    """
    return sum(_seconds(loop, load, NOMINAL_THREADS) for loop, load in loads.items())


def _seconds(loop: Loop, load: Load, speed: float) -> float:
    rate = NOMINAL_RATES[loop]
    return load.steps * rate.overhead + (load.flops / rate.flops + load.elements / rate.elements) / speed


def worth_compiling(loop: Loop, compute: Compute, load: Load) -> bool:
    """Whether a loop is long enough to earn the compiler's time back, or compilation is demanded."""
    return compute.should_compile(expected_seconds(loop, compute, load), NOMINAL_RATES[loop].break_even)
