"""Networks drawn from experts for every target, and what they say of the images that are matched."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from study.core.seeding import Generators
from study.methods.base import Task
from study.methods.matching.means import DrawnNetworks
from study.methods.matching.random_features import Extract, RandomFeatures, embedding
from study.methods.matching.synthetic_images import SyntheticImages
from study.methods.trained.config import TrainedMatchingConfig
from study.methods.trained.distances import Waves, WithVotes, surprise
from study.methods.trajectories.expert_matching import Trajectories


class JudgedFeatures(RandomFeatures):
    """Class means of features on one network and, of images with a gradient, of the surprise of another one."""

    def __init__(self, task: Task, extract: Extract, judge: RandomFeatures | None) -> None:
        super().__init__(task, extract)
        self.judge = judge

    def class_means(self, images: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """As the base class, and [classes, classes] surprise last where there is a judge and ``images`` are learned."""
        means = super().class_means(images, averaging)
        if self.judge is None or not images.requires_grad:
            return means
        return (*means, *self.judge.class_means(images, averaging))


class TrainedNetworks(DrawnNetworks):
    """Draws the matched network, its judge and the frequencies.

    Attributes:
        epoch: of the snapshot that is matched; of others None.
    """

    features: JudgedFeatures
    epoch: int | None = None

    def __init__(self, config: TrainedMatchingConfig, task: Task, experts: Trajectories | None) -> None:
        """Build both networks; ``experts`` may be missing where none is asked."""
        self._config, self._experts, self._holder = config, experts, task.network()
        self._waves: Waves | None = None
        if config.distance == "characteristic":
            width = self._holder.classifier.in_features
            self._waves = Waves(torch.zeros(config.num_frequencies, width, device=task.train.images.device))
        extract: Extract = embedding if self._waves is None else self._waves
        if config.ce_weight and config.ce_by_accuracy:
            extract = WithVotes(self._waves)
        judge = RandomFeatures(task, surprise) if config.ce_weight else None
        super().__init__(JudgedFeatures(task, extract, judge))

    def renew(self, generators: Generators) -> None:
        """Draw networks and frequencies."""
        self._draw_frequencies(generators)
        config, experts = self._config, self._experts
        source = generators["starts"]
        if config.network == "random":
            self._holder.reset_parameters(generators["networks"])
        elif experts is not None:
            expert = _below(experts.num_experts, source)
            self._take(self._matched(experts, expert, source), self.features)
        if config.network == "random":
            self.features.load(self._holder)
        if self.features.judge is None:
            return
        if config.ce_network == "matched":
            self.features.judge.load(self._holder)
        elif experts is not None:
            expert = _below(experts.num_experts, source) if config.network == "random" else expert
            self._take(self._judging(experts, expert, source), self.features.judge)

    def reuse(self, synthetic: SyntheticImages, generators: Generators) -> None:
        """Draw frequencies alone."""
        self._draw_frequencies(generators)

    def _matched(self, experts: Trajectories, expert: int, source: torch.Generator) -> Tensor:
        if self._config.network == "snapshot":
            self.epoch = _below(self._config.experts.num_epochs + 1, source)
            return experts.snapshot(expert, self.epoch)
        share = float(torch.rand((), generator=source, device=source.device))
        return torch.lerp(experts.final(expert), experts.snapshot(expert, 0), share)

    def _judging(self, experts: Trajectories, expert: int, source: torch.Generator) -> Tensor:
        if self._config.ce_network == "final" or self.epoch is None:
            return experts.final(expert)
        room = min(self._config.ce_interval, self._config.experts.num_epochs + 1 - self.epoch)
        return experts.snapshot(expert, self.epoch + _below(room, source))

    def _take(self, flat: Tensor, into: RandomFeatures) -> None:
        vector_to_parameters(flat, self._holder.parameters())
        into.load(self._holder)

    def _draw_frequencies(self, generators: Generators) -> None:
        if self._waves is not None:
            source, kept = generators["frequencies"], self._waves.frequencies
            kept.copy_(torch.randn(kept.shape, generator=source, device=source.device))


def _below(limit: int, source: torch.Generator) -> int:
    return int(torch.randint(limit, (1,), generator=source, device=source.device))
