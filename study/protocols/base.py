"""What a protocol is, what it works with, and what it hands back."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from torch import Tensor

from study.core.errors import ConfigError
from study.core.plugins import Registry
from study.core.records import ImageDataset, Score, SyntheticSet
from study.data.splits import DataSplits
from study.evaluation.evaluator import Evaluator
from study.evaluation.full_data import FullData
from study.sets.files import StoredSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Split = Literal["validation", "test"]

DISTILLED, RANDOM = "distilled", "random real images"
"""Names of the set and of its baseline in tables and pictures."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What to ask of a set, and how.

    Attributes:
        protocol: the question; ``architectures`` scores the set on several networks.
        split: real images to classify; opening ``test`` is logged, and happens once.
        num_seeds: fresh networks of every score.
        seed: root of their initialisations; by default the seed of the set.
        overrides: nested settings over the set's own recipe, such as ``{"evaluation": {"lr": 0.05}}``.
        pool: architectures beside the set's own: ``none``, ``quick`` or, by default, ``full``.
        models: architectures as ``name`` or ``name:width``, in place of ``pool``.
        full_data: train on all real images where their score is not kept yet; None does where it costs seconds.
            For the protocol ``ranking``: as long as DD-Ranking; None does for sets of the budget ``paper``.
        against: a second set to measure in the same way, for protocols that compare two.
    """

    protocol: str = "architectures"
    split: Split = "validation"
    num_seeds: int = 5
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    pool: str | None = None
    models: Sequence[str] = ()
    full_data: bool | None = None
    against: str | None = None


@dataclass(frozen=True)
class Findings:
    """What one protocol found.

    Attributes:
        metrics: numbers by name, as the run records them.
        rows: the table, one mapping a row, all with the same keys; ``std`` is the deviation of
            ``accuracy``, ``x_std`` that of ``x``.
        columns: keys of the rows that a terminal shows, with their headings; empty for all.
        totals: further rows below the table, with some of its keys.
        curves: (step, value) pairs by metric name.
        figures: pictures by file name.
        notes: what a reader has to know, a sentence each.
    """

    metrics: dict[str, float]
    rows: list[dict[str, Any]]
    columns: dict[str, str] = field(default_factory=dict)
    totals: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Session:
    """A stored set with the real images it was made from, and the evaluator that scores it.

    Attributes:
        reference: the set as it was asked for.
        stored: the set, verified.
        options: as asked for.
        splits: the real images, test sealed.
        on_validation: an evaluator on validation images, with seeds of this protocol's own.
        full_data: networks trained on all real images.
        purpose: why the test set is opened, if it is.
        report: told of each stage, in words.
        against: a second set of the same space, verified, or None.
        twin_command: the command that makes the set again with some settings changed.
        distill_seconds: what making the set took; None where that is not known here.
        num_random: draws of random real images by architecture, as the set's search made them; others get as many as
            networks are trained on the set.
    """

    reference: str
    stored: StoredSet
    options: EvaluateOptions
    splits: DataSplits
    on_validation: Evaluator
    full_data: FullData
    purpose: str = ""
    report: Callable[[str], None] = lambda text: None
    against: StoredSet | None = None
    twin_command: Callable[[Mapping[str, Any]], str] = lambda changes: ""
    distill_seconds: Callable[[], float | None] = lambda: None
    num_random: Mapping[str, int] = field(default_factory=dict)

    @functools.cached_property
    def synthetic(self) -> SyntheticSet:
        """The set, on the device."""
        return self.stored.synthetic.to(self.on_validation.compute.device)

    @functools.cached_property
    def real(self) -> ImageDataset:
        """The images to classify; the test set is opened on first use, and then never again."""
        if self.options.split == "test":
            return self.splits.test.open(self.purpose).to(self.on_validation.compute.device)
        return self.on_validation.real

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator on the images to classify."""
        return self.on_validation.changed(real=self.real)

    @property
    def num_seeds(self) -> int:
        """Networks of every score."""
        return self.options.num_seeds

    @property
    def ipc(self) -> int:
        """Images a class of the set, and of what it is compared with."""
        return self.synthetic.ipc

    @property
    def name(self) -> str:
        """What pictures call the set."""
        return self.stored.manifest.name

    def votes(self) -> Tensor | None:
        """Annotators who chose class 1 of each image of :attr:`real`, or None."""
        if self.options.split == "test":
            return self.splits.test.votes(self.purpose)
        return self.splits.validation_votes


class Protocol(ABC):
    """One question asked of a stored set.

    A file that defines one subclass and decorates it with :func:`register` is a complete protocol: it is found by
    name, listed in help texts, and passes :class:`study.testing.ProtocolContract`.
    """

    name: ClassVar[str]
    """What users write after ``--protocol``."""
    about: ClassVar[str]
    """One line for help texts."""
    trains: ClassVar[bool] = True
    """Whether networks are trained and real images of a split classified."""
    takes: ClassVar[tuple[str, ...]] = ()
    """Options of its own, of ``pool``, ``models``, ``full_data`` and ``against``."""
    only_validation: ClassVar[str] = ""
    """Why the test set is refused; empty where it is not."""

    @abstractmethod
    def measure(self, session: Session) -> Findings:
        """Ask the question of one set."""

    def check(self, options: EvaluateOptions) -> None:
        """Refuse what this protocol cannot do, before anything is loaded.

        Raises:
            ConfigError: an option would be ignored, or the split is refused.
        """
        for option in ("pool", "models", "full_data", "against"):
            value = getattr(options, option)
            if value not in (None, ()) and option not in self.takes:
                able = [name for name, one in PROTOCOLS.items() if option in one.takes]
                names = f"{', '.join(able)} {'does' if len(able) == 1 else 'do'}"
                raise ConfigError(f"{option} = {value!r}: protocol {self.name!r} takes none; {names}")
        if self.only_validation and options.split == "test":
            raise ConfigError(f"split = 'test': {self.only_validation}; use --split validation")


PROTOCOLS: Registry[type[Protocol]] = Registry("protocol", "study.protocols", "study.protocols")
"""Every protocol by name."""

ProtocolT = TypeVar("ProtocolT", bound=type[Protocol])


def register(protocol: ProtocolT) -> ProtocolT:
    """Class decorator that enters a protocol into :data:`PROTOCOLS`; a name taken twice is an error."""
    PROTOCOLS.register(protocol.name, protocol, protocol.__module__)
    return protocol


def find_protocol(name: str) -> type[Protocol]:
    """The protocol of that name.

    Raises:
        UnknownNameError: there is none; the message lists them all.
        ConfigError: a plug-in cannot be loaded.
    """
    return PROTOCOLS.find(name)


def score_row(score: Score) -> dict[str, Any]:
    """A score's cells of a table."""
    return {"accuracy": score.mean, "std": score.std, "n": score.n}
