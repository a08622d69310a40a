"""Real images drawn at random: what every distilled set has to beat."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from study.core.seeding import Generators
from study.methods.base import Task, register
from study.methods.coresets.base import Coreset, CoresetConfig
from study.methods.initialize import sample_real


@register
class RandomCoreset(Coreset[CoresetConfig]):
    """Real images drawn at random, the same number of every class, without replacement."""

    name: ClassVar[str] = "random"

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        return sample_real(task.train, task.ipc, generators["init"])
