"""What a network costs: work and activations of one image, counted on shapes, and how long that may take."""

from __future__ import annotations

import copy
import functools
import weakref
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

Loop = Literal["evaluation", "features", "student"]


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
    """

    mixes_images: bool
    forward_flops: int
    embedding_flops: int
    training_flops: int
    largest_map: int
    largest_feature_map: int
    all_feature_maps: int


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
    sizes = [0]

    def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output[:1].numel())

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
    )


@dataclass(frozen=True)
class NominalRate:
    """Rough speed of an uncompiled loop, and when compiling it pays.

    Attributes:
        float32: FLOPs a second on a CPU; ``bfloat16`` likewise, ``accelerator`` elsewhere.
        per_thread: the rates of a CPU are those of one thread.
        overhead: seconds of a step, however small.
        break_even: seconds of a whole loop above which it is compiled.
    """

    float32: float
    bfloat16: float
    accelerator: float
    per_thread: bool = False
    overhead: float = 0.0
    break_even: float = 90.0


NOMINAL_RATES: dict[Loop, NominalRate] = {
    "evaluation": NominalRate(1e11, 1e11, 1e13),
    "features": NominalRate(7e10, 1.5e11, 2e13, per_thread=True),
    # Always float32.
    "student": NominalRate(5e10, 5e10, 2e13, overhead=5e-3, break_even=30.0),
}


def expected_seconds(loop: Loop, compute: Compute, flops: float, num_steps: int) -> float:
    """Rough time of ``num_steps`` uncompiled steps of that many FLOPs, at a nominal rate.

    No clock decides: compiled programs differ in their last bits, so a measured time could give two results
    on a busy and on an idle machine.
    """
    nominal = NOMINAL_RATES[loop]
    rate = nominal.accelerator
    if compute.device.type == "cpu":
        rate = nominal.bfloat16 if compute.dtype is torch.bfloat16 else nominal.float32
        rate *= torch.get_num_threads() if nominal.per_thread else 1
    return num_steps * (nominal.overhead + flops / rate)


def worth_compiling(loop: Loop, compute: Compute, flops: float, num_steps: int) -> bool:
    """Whether that many steps are long enough to earn the compiler's time back, or compilation is demanded."""
    return compute.should_compile(
        expected_seconds(loop, compute, flops, num_steps), NOMINAL_RATES[loop].break_even
    )
