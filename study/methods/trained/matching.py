"""The family's base: class features on networks of experts, and the cross-entropy that keeps images in their class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Range, Space
from study.methods.base import Method, Task, TaskSize
from study.methods.experts.config import WholeSet
from study.methods.experts.experts import Experts, estimate_experts, obtain_experts
from study.methods.experts.file import Kept
from study.methods.hooks import Estimate, Preparation
from study.methods.matching.losses import distribution_matching_loss
from study.methods.matching.means import match_means
from study.methods.trained.config import TrainedMatchingConfig
from study.methods.trained.distances import characteristic_distance
from study.methods.trained.networks import TrainedNetworks
from study.methods.trajectories.expert_matching import Trajectories
from study.methods.trajectories.untrained import UntrainedExperts
from study.models.flat_params import num_parameters
from study.models.work import Loads, nominal_seconds

ConfigT = TypeVar("ConfigT", bound=TrainedMatchingConfig)


class TrainedMatching(Method[ConfigT]):
    """Base of the methods that match features on trained networks; they differ in settings alone.

    One update moves all classes together, by the sum of their losses. Released codes update class by class: with
    momentum or AdamW each such step moves the images of the other classes too.
    """

    space: ClassVar[Space] = {
        "distill.image_lr": Range(low=0.1, high=10.0, log=True),
        "distill.ce_weight": Range(low=0.1, high=10.0, log=True),
    }
    smoke: ClassVar[Mapping[str, Any]] = {
        "num_iterations": 8,
        "batch_real": 16,
        "experts": {"num_experts": 1, "num_epochs": 3},
    }
    preparation_settings: ClassVar[tuple[str, ...]] = ("experts",)

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration; missing experts are trained first.

        Losses: ``match/loss``, and its parts as they are, ``match/distance`` and, where it counts,
        ``match/cross_entropy``, summed over classes; ``match/ce_weight`` is what that was multiplied by.
        """
        yield from self._match(task, self._experts(task, generators), generators)

    def rehearse(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """What :meth:`distill` does, with untrained networks for experts."""
        yield from self._match(task, UntrainedExperts(task), generators)

    def prepare(self, task: Task, generators: Generators) -> Preparation:
        """Train the experts that the cache lacks."""
        experts = self._experts(task, generators)
        return Preparation() if experts is None else experts.preparation()

    def estimate(self, task: Task, generators: Generators) -> Estimate:
        """Count the experts that are missing."""
        config = self.config
        if not config.uses_experts:
            return Estimate()
        seconds = nominal_seconds(self.preparation_loads(task.size))
        return estimate_experts(
            task, config.experts, WholeSet().key(), generators, seconds, config.last_epoch
        )

    def preparation_loads(self, size: TaskSize) -> Loads:
        """Training the experts."""
        config = self.config
        return {"experts": config.experts.load(size.work, size.num_images)} if config.uses_experts else {}

    def prepared_bytes(self, task: Task) -> int:
        """Of the snapshots that are kept of all experts."""
        config = self.config
        kept = Kept(num_parameters(task.network()), config.experts.num_epochs, config.last_epoch)
        return config.experts.num_experts * kept.num_bytes if config.uses_experts else 0

    def iteration_loads(self, size: TaskSize) -> Loads:
        """A real batch and the set through the matched network, and the set through its judge."""
        config = self.config
        load = config.load(size)
        return {"features": load + size.work.features(0, size.num_synthetic) if config.ce_weight else load}

    def _experts(self, task: Task, generators: Generators) -> Experts | None:
        config = self.config
        if not config.uses_experts:
            return None
        return obtain_experts(task, config.experts, WholeSet(), generators, last=config.last_epoch)

    def _match(self, task: Task, experts: Trajectories | None, generators: Generators) -> Iterator[Progress]:
        networks = TrainedNetworks(self.config, task, experts)
        yield from match_means(self.config, task, networks, self._losses, generators)

    def _losses(self, real: tuple[Tensor, ...], synthetic: tuple[Tensor, ...]) -> dict[str, Tensor]:
        config = self.config
        if config.distance == "mean":
            distance = distribution_matching_loss(real[0], synthetic[0])
        else:
            distance = characteristic_distance(
                (real[0], real[1]), (synthetic[0], synthetic[1]), config.amplitude_weight
            )
        scaled = distance if config.loss_scale == 1 else config.loss_scale * distance
        if not config.ce_weight:
            return {"match/loss": scaled, "match/distance": distance}
        entropy = synthetic[-1].diagonal().sum()
        weight = entropy.new_tensor(config.ce_weight)
        if config.ce_by_accuracy:
            weight = weight * 100 * real[-1].diagonal().mean()
        return {
            "match/loss": scaled + weight * entropy,
            "match/distance": distance,
            "match/cross_entropy": entropy,
            "match/ce_weight": weight,
        }
