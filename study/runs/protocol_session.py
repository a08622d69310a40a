"""What a protocol works with, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.baselines import random_baseline, random_real_sets
from study.evaluation.protocol import EvaluationConfig, evaluate
from study.models.pool import ModelConfig
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import RunContext
from study.runs.context.stored_set import Split
from study.runs.context.stores import StoreOptions
from study.sets.files import StoredSet
from study.tracking.base import Tracker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BESIDE",
    "DISTILLED",
    "RANDOM",
    "Findings",
    "Measure",
    "ProtocolOptions",
    "ProtocolResult",
    "Session",
]

DISTILLED, BESIDE, RANDOM = "distilled", "beside", "random real images"
"""Names of the set, of one beside it, and of its baseline in tables and pictures."""


@dataclass(frozen=True)
class ProtocolOptions:
    """On what, how often and from which seed a protocol measures.

    Attributes:
        split: real images to classify; opening ``test`` is logged, and happens once.
        num_seeds: fresh networks of every score.
        seed: root of their initialisations; by default the seed of the set.
        overrides: nested settings over the set's own recipe.
        stores: where sets, runs and data lie.
        beside: a second set to measure in the same way, for protocols that compare two.
    """

    split: Split = "validation"
    num_seeds: int = 5
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    stores: StoreOptions = field(default_factory=StoreOptions)
    beside: str | None = None


@dataclass(frozen=True)
class Findings:
    """What one protocol found.

    Attributes:
        metrics: numbers by name, as the run records them.
        rows: the table, one mapping a row, all with the same keys.
        curves: (step, value) pairs by metric name.
        figures: pictures by file name.
        notes: what a reader has to know, a sentence each.
    """

    metrics: dict[str, float]
    rows: list[dict[str, Any]]
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ProtocolResult:
    """Findings with the set they are about; accuracies are fractions, deviations have ddof 1.

    Attributes:
        split: what was classified; ``train`` where images were compared and nothing was trained.
        n: evaluation seeds of every score; 0 likewise.
        artifacts: files of the run.
    """

    protocol: str
    set: str
    dataset: str
    method: str
    ipc: int
    split: str
    model: str
    n: int
    metrics: dict[str, float]
    rows: list[dict[str, Any]]
    notes: list[str]
    artifacts: list[str]
    run_id: str

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return asdict(self)


@dataclass
class Session:
    """A stored set, its data and machine, and the scores that protocols share.

    Attributes:
        stored: the set, verified.
        context: real images and machine.
        options: as asked for.
        generators: of this protocol's own numbers.
        callback: told of the stages.
        tracker: the open store.
        purpose: why the test set is opened, if it is.
        reference: the set as it was asked for.
        beside: a second set of the same space, verified, or None.
    """

    stored: StoredSet
    context: RunContext
    options: ProtocolOptions
    generators: Generators
    callback: Callback
    tracker: Tracker
    purpose: str
    reference: str
    beside: StoredSet | None = None
    _real: ImageDataset | None = None

    @property
    def synthetic(self) -> SyntheticSet:
        """The set, on the device."""
        return self.stored.synthetic.to(self.context.compute.device)

    @property
    def num_seeds(self) -> int:
        """Networks of every score."""
        return self.options.num_seeds

    def real(self) -> ImageDataset:
        """The images to classify; the test set is opened on first use, and then never again."""
        if self._real is None:
            context = self.context
            self._real = context.validation
            if self.options.split == "test":
                self._real = context.splits.test.open(self.purpose).to(context.compute.device)
        return self._real

    def votes(self) -> Tensor | None:
        """Annotators who chose class 1 of each image of :meth:`real`, or None."""
        if self.options.split == "test":
            return self.context.splits.test.votes(self.purpose)
        return self.context.splits.validation_votes

    def common(
        self, config: EvaluationConfig | None = None
    ) -> tuple[ModelConfig, EvaluationConfig, AugmentationConfig, Compute]:
        """What every evaluation takes between the real images and the generators."""
        context = self.context
        return (
            context.config.model,
            context.config.evaluation if config is None else config,
            context.splits.augmentation,
            context.compute,
        )

    def score(self, synthetic: SyntheticSet, config: EvaluationConfig | None = None) -> Score:
        """Score a set; the same seeds for every set and recipe, so that scores are paired."""
        return evaluate(
            synthetic, self.real(), *self.common(config), self.generators, num_seeds=self.num_seeds
        )

    def random_score(self, config: EvaluationConfig | None = None) -> Score:
        """Score random real images of the same IPC, a fresh draw for each seed."""
        return random_baseline(
            self.context.train, self.real(), self.context.config.ipc, *self.common(config),
            self.generators.child("random"), num_draws=self.num_seeds,
        )  # fmt: skip

    def random_sets(self) -> list[SyntheticSet]:
        """As many draws of random real images as there are seeds."""
        return random_real_sets(
            self.context.train, self.context.config.ipc, self.num_seeds, self.generators.child("random")
        )

    def require_validation(self, why: str) -> None:
        """Refuse the test set to a protocol that chooses something by its scores.

        Raises:
            ConfigError: the split is ``test``.
        """
        if self.options.split == "test":
            raise ConfigError(f"split = 'test': {why}; use --split validation")


Measure = Callable[[Session], Findings]
