"""DC: gradient matching without augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.data.augment import AugmentationConfig
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.initialize import Initialization
from study.methods.matching.gradients import GradientMatchingConfig, gradient_loads, match_gradients
from study.models.work import Loads


class DCConfig(GradientMatchingConfig):
    """Settings of DC; the published values are the defaults."""

    init: Initialization = "noise"


@register
class DC(Method[GradientMatchingConfig]):
    """Dataset condensation with gradient matching.

    A network's gradient on the synthetic images of a class is pulled towards its gradient on real ones, at
    random parameters and along a short training on the synthetic set. The dataset's augmentation is not used.

    Source: Zhao, Mopuri and Bilen 2021, "Dataset Condensation with Gradient Matching".
    """

    name: ClassVar[str] = "dc"
    Config: ClassVar[type[MethodConfig]] = DCConfig
    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=0.01, high=1.0, log=True),
        "distill.model_lr": Range(low=1e-3, high=0.1, log=True),
        "distill.init": Choice(choices=("noise", "real")),
    }
    smoke: ClassVar[dict[str, int]] = {"num_iterations": 6, "batch_real": 16}

    def iteration_loads(self, size: TaskSize) -> Loads:
        """Both gradients, and a share of the network's training."""
        return gradient_loads(self.config, size)

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an update with its ``match/loss``."""
        yield from match_gradients(self.config, task, AugmentationConfig(), generators)
