"""DC: gradient matching without augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.methods.base import MethodConfig, Task, register
from study.methods.gradient_matching import GradientMatchingConfig, match_gradients
from study.methods.initialize import Initialization

__all__ = ["DC", "DCConfig"]


class DCConfig(GradientMatchingConfig):
    """Settings of DC; the published values are the defaults."""

    init: Initialization = "noise"
    """Where the synthetic images start: ``real``, ``noise`` or ``real+noise``."""


@register
class DC:
    """Dataset condensation with gradient matching.

    A network's gradient on the synthetic images of a class is pulled towards its gradient on real images of
    that class, at random parameters and along a short training on the synthetic set. The dataset's
    augmentation is not used. Memory and time: see :func:`~study.methods.gradient_matching.match_gradients`.

    Source: Zhao, Mopuri and Bilen 2021, "Dataset Condensation with Gradient Matching".
    """

    name: ClassVar[str] = "dc"
    Config: ClassVar[type[MethodConfig]] = DCConfig

    def __init__(self, config: GradientMatchingConfig) -> None:
        self.config = config

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an update with its ``match/loss``."""
        yield from match_gradients(self.config, task, AugmentationConfig(), generators)
