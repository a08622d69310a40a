"""Real images drawn at random with soft labels of a teacher: what every set with soft labels has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from study.core.chunks import fitting
from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Range, Space
from study.methods.base import MethodConfig, Task, TaskSize, register
from study.methods.coresets.base import Coreset, CoresetConfig
from study.methods.experts.config import ExpertConfig, WholeSet
from study.methods.experts.experts import Experts, estimate_experts, obtain_experts
from study.methods.experts.file import Kept
from study.methods.hooks import Estimate, Preparation
from study.methods.initialize import sample_real
from study.models.flat_params import flatten_parameters, forward_flat, num_parameters
from study.models.network import Network
from study.models.work import Loads, nominal_seconds, work_of


class TeacherConfig(ExpertConfig):
    """How the teacher is trained: an expert like those of trajectory matching, and only one."""

    num_experts: int = Field(1, ge=1, le=1)
    num_epochs: int = Field(50, ge=1)
    """Epochs at most; it is trained no further than a searched ``teacher_epoch`` may ask."""


class RandomSoftConfig(CoresetConfig):
    """Settings of random images with a teacher's labels."""

    teacher_epoch: int = Field(10, ge=0)
    """Epochs of training after which the teacher is asked; few images want a weak teacher, so it has to be searched.
    At 0 it has learned nothing, and its labels are those of an untrained network."""
    experts: TeacherConfig = Field(default_factory=TeacherConfig)
    """How the teacher is trained."""

    @model_validator(mode="after")
    def _teacher_gets_there(self) -> RandomSoftConfig:
        if self.teacher_epoch > self.experts.num_epochs:
            raise ValueError(
                f"teacher_epoch = {self.teacher_epoch} is above experts.num_epochs = {self.experts.num_epochs}"
            )
        return self


@register
class RandomSoft(Coreset[RandomSoftConfig]):
    """Real images drawn at random, those of ``random``, with one partly trained network's answers as soft labels.

    The control of every method with soft labels: nothing is distilled but the labels.

    Source: Qin, Deng and Alvarez-Melis 2024, "A Label is Worth a Thousand Images in Dataset Distillation", with one
        teacher and temperature 1.
    """

    name: ClassVar[str] = "random-soft"
    Config: ClassVar[type[MethodConfig]] = RandomSoftConfig
    space: ClassVar[Space] = {"distill.teacher_epoch": Range(kind="int", low=1, high=16, log=True)}
    smoke: ClassVar[Mapping[str, Any]] = {"teacher_epoch": 2, "experts": {"num_epochs": 16}}
    preparation_settings: ClassVar[tuple[str, ...]] = ("experts",)

    @property
    def expert_config(self) -> ExpertConfig:
        """How the teacher is trained, as far as this trial or another one of the search asks."""
        searched = self.searched.get("distill.teacher_epoch")
        last = max(self.config.teacher_epoch, *map(int, searched.extremes if searched else ()), 1)
        config = self.config.experts
        return config.model_copy(update={"num_epochs": min(last, config.num_epochs)})

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the images with the teacher's logits, as iteration 0; a missing teacher is trained first."""
        teacher = self._teacher(task, generators).snapshot(0, self.config.teacher_epoch)
        yield from self._labelled(task, teacher, generators)

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """The same with an untrained teacher."""
        yield from self._labelled(task, flatten_parameters(task.network()), generators)

    def prepare(self, task: Task, generators: Generators) -> Preparation:
        """Train the teacher, where the cache lacks it."""
        return self._teacher(task, generators).preparation()

    def estimate(self, task: Task, generators: Generators) -> Estimate:
        """Count the epochs that are missing."""
        seconds = nominal_seconds(self.preparation_loads(task.size))
        return estimate_experts(task, self.expert_config, WholeSet().key(), generators, seconds)

    def preparation_loads(self, size: TaskSize) -> Loads:
        """Training the teacher."""
        return {"experts": self.expert_config.load(size.work, size.num_images)}

    def prepared_bytes(self, task: Task) -> int:
        """Of all its snapshots."""
        num_epochs = self.expert_config.num_epochs
        return Kept(num_parameters(task.network()), num_epochs, num_epochs).num_bytes

    def _teacher(self, task: Task, generators: Generators) -> Experts:
        return obtain_experts(task, self.expert_config, WholeSet(), generators)

    def _labelled(self, task: Task, teacher: Tensor, generators: Generators) -> Iterator[Progress]:
        hard = next(super().distill(task, generators)).snapshot
        logits = teacher_logits(task.network(), teacher, hard().images)
        yield Progress(0, {}, lambda: replace(hard(), logits=logits.clone()))

    def _choose(self, task: Task, generators: Generators) -> Tensor:
        return sample_real(task.train, task.ipc, generators["init"])


@torch.no_grad()
def teacher_logits(network: Network, teacher: Tensor, images: Tensor) -> Tensor:
    """What a network with the parameters ``teacher`` [D] says of images [n, C, H, W]: logits [n, classes] float32.

    The images are not augmented, the network is in evaluation mode, and the logits stand for a softmax of
    temperature 1.
    """
    network.eval()
    size = fitting("expert answers", work_of(network).largest_map * teacher.element_size(), teacher.device)
    return torch.cat([forward_flat(network, teacher, part) for part in torch.split(images, size)])
