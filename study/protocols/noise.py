"""Noise: what remains of a set's accuracy when its images, or those that are classified, are noisy?"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from study.core.config import flatten
from study.core.errors import ConfigError, ShapeError
from study.core.records import ImageDataset, Score, SyntheticSet
from study.core.seeding import Generators
from study.data.mhist import NUM_ANNOTATORS
from study.evaluation.evaluator import Evaluator, check_scorable, evaluation_seeds, score_rows
from study.evaluation.metrics import accuracy, predict, score_logits
from study.evaluation.training import train_networks
from study.models.network import Network
from study.protocols.base import DISTILLED, RANDOM, Findings, Protocol, Session, register, score_row
from study.protocols.figures import draw_curves
from study.sets.files import StoredSet

NOISE_LEVELS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Standard deviations of the noise, in units of the deviation of the real training images."""
AGAINST = "against"
KEYS = {DISTILLED: "distilled", AGAINST: "against", RANDOM: "random"}
"""A metric's part for a curve's name."""
START = "distill.init"


@register
class Noise(Protocol):
    """Curves of a set, of one that started elsewhere, and of random real images."""

    name: ClassVar[str] = "noise"
    about: ClassVar[str] = "accuracy under noise on synthetic and on real images"
    takes: ClassVar[tuple[str, ...]] = ("against",)

    def measure(self, session: Session) -> Findings:
        """Curves over noise on the synthetic images and on the real ones, random real images beside."""
        unit = float(session.on_validation.train.images.std())
        curves = _curves(session, unit)
        labels = _labels(session)
        rows, points, means = [], {}, {}
        for where, by_name in curves.items():
            for name, scores in by_name.items():
                levels = list(zip(NOISE_LEVELS, scores, strict=True))
                rows += [
                    {"noise_on": where.removeprefix("on "), "trained_on": labels[name], "level": level,
                     **score_row(score), **_by_agreement(score)}
                    for level, score in levels
                ]  # fmt: skip
                key = f"noise/{where.split()[1]}/{KEYS[name]}"
                points[key] = [(round(100 * level), score.mean) for level, score in levels]
                # Of the levels above 0.
                above = [score.mean for score in scores[1:]]
                means[f"noise/{where.split()[1]}_{KEYS[name]}_mean"] = sum(above) / len(above)
        figure = draw_curves(
            {f"noise {where}": by_name for where, by_name in curves.items()},
            NOISE_LEVELS,
            xlabel="deviation of the noise / deviation of real images",
            ylabel=curves["on real images"][DISTILLED][0].metric.replace("_", " "),
            title=f"{session.name} under Gaussian noise",
            labels=labels,
        )
        notes = _notes(session, unit)
        return Findings(means, rows, curves=points, figures={"noise.png": figure}, notes=notes)


def _by_agreement(score: Score) -> dict[str, float]:
    return {key: mean for key, mean in score.extra_means().items() if "agreement" in key}


def _curves(session: Session, unit: float) -> dict[str, dict[str, list[Score]]]:
    sets = {DISTILLED: [session.synthetic]}
    if session.against is not None:
        sets[AGAINST] = [session.against.synthetic.to(session.evaluator.compute.device)]
    sets[RANDOM] = session.on_validation.random_sets(session.ipc, session.num_seeds)
    curves: dict[str, dict[str, list[Score]]] = {"on training images": {}, "on real images": {}}
    for name, some in sets.items():
        session.report(f"training {session.num_seeds * (len(NOISE_LEVELS) + 1)} networks: {name}")
        # Two sets get the same networks at the start, and the same noise on the real images.
        family = session.evaluator.generators.child("curves", DISTILLED if name == AGAINST else name)
        test = NoiseTest(
            session.evaluator.changed(generators=family), unit, num_seeds=session.num_seeds,
            votes=session.votes(), num_annotators=NUM_ANNOTATORS,
        )  # fmt: skip
        curves["on training images"][name] = test.on_training_images(some)
        curves["on real images"][name] = test.on_real_images(some)
    return curves


def _labels(session: Session) -> dict[str, str]:
    """Names of the curves: with two sets, which is which and how each started."""
    if session.against is None:
        return {DISTILLED: DISTILLED, RANDOM: RANDOM}
    return {
        DISTILLED: f"{session.reference} (from {_start(session.stored)})",
        AGAINST: f"{session.options.against} (from {_start(session.against)})",
        RANDOM: RANDOM,
    }


def _start(stored: StoredSet) -> str:
    return str(flatten(stored.manifest.config).get(START))


def _notes(session: Session, unit: float) -> list[str]:
    notes = [f"level 1 is the deviation of the real training images, {unit:.3f} in normalised space"]
    if session.against is None:
        start = _start(session.stored)
        other = "noise" if start != "noise" else "real"
        return [
            *notes,
            f"{START} = {start}; to draw a twin with {START} = {other} in the same picture, make it and name it "
            "with --against:",
            session.twin_command({START: other}),
        ]
    first, second = (
        {"method": one.manifest.method, **flatten({"distill": one.manifest.config.get("distill", {})})}
        for one in (session.stored, session.against)
    )
    differing = [
        f"{key} = {first.get(key)} and {second.get(key)}"
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    ]
    return [*notes, f"settings that differ: {'; '.join(differing) or 'none'}"]


@dataclass(frozen=True)
class NoiseTest:
    """What the curves of a comparison share.

    Sets are given as one that all seeds share, or one for each seed, as for random real images. Two calls
    train from the same seeds and draw the same noise, every level at another size, so that a curve shows the
    noise and not the draw.

    Attributes:
        evaluator: classifies; its child ``noise`` draws the noise.
        unit: size of noise level 1 in normalised space: the deviation of the real training images.
        levels: sizes of the noise in units of ``unit``.
        num_seeds: networks of each score.
        votes: [n] int64, of ``num_annotators`` those who chose class 1 of each real image, for
            :func:`accuracy_by_agreement`; or None.

    Raises:
        ConfigError: a level is below 0 or not finite, or there is no level, no seed, or neither one set nor one a
            seed.
    """

    evaluator: Evaluator
    unit: float
    levels: Sequence[float] = NOISE_LEVELS
    num_seeds: int = 5
    votes: Tensor | None = None
    num_annotators: int = 0

    def __post_init__(self) -> None:
        for level in self.levels:
            if not 0 <= level < float("inf"):
                raise ConfigError(f"noise level {level}: must be a finite number of at least 0")
        if not self.levels or self.num_seeds < 1:
            raise ConfigError(f"{len(self.levels)} levels, {self.num_seeds} seeds: need one of each at least")

    def on_training_images(self, sets: Sequence[SyntheticSet]) -> list[Score]:
        """Scores of networks that learned from noisy images and classify clean ones, one score a level."""
        noise = [
            _noise(one.images, self.evaluator.generators.child("noise", index))
            for index, one in enumerate(sets)
        ]
        scores = []
        for level in self.levels:
            started = time.perf_counter()
            noisy = [
                replace(one, images=one.images + level * self.unit * drawn)
                for one, drawn in zip(sets, noise, strict=True)
            ]
            networks = self._trained(noisy, self.num_seeds * len(self.levels))
            rows = [self._row(network, self._real.images) for network in networks]
            scores.append(score_rows(rows, self._real, time.perf_counter() - started))
        return scores

    def on_real_images(self, sets: Sequence[SyntheticSet]) -> list[Score]:
        """Scores of networks that learned from clean images and each classify noisy ones, one score a level."""
        started = time.perf_counter()
        images = self._real.images
        noise = _noise(images, self.evaluator.generators.child("noise"))
        rows: list[list[dict[str, float]]] = [[] for _ in self.levels]
        for network in self._trained(sets, self.num_seeds):
            for found, level in zip(rows, self.levels, strict=True):
                found.append(self._row(network, images + level * self.unit * noise))
        seconds = time.perf_counter() - started
        return [score_rows(found, self._real, seconds / len(rows)) for found in rows]

    @functools.cached_property
    def _real(self) -> ImageDataset:
        return self.evaluator.real.to(self.evaluator.compute.device)

    def _trained(self, sets: Sequence[SyntheticSet], expected_networks: int) -> Iterator[Network]:
        """One network a seed, valid until the next is asked for."""
        if len(sets) not in (1, self.num_seeds):
            raise ConfigError(f"{len(sets)} sets for {self.num_seeds} seeds: need one set, or one a seed")
        shared = len(sets) == 1
        for index, one in enumerate(sets):
            check_scorable(one, self.evaluator.real)
            job = self.evaluator.job(one)
            family = self.evaluator.generators
            if not shared:
                family = family.child("draw", index)
            seeds = evaluation_seeds(family, self.num_seeds if shared else 1)
            if job.schedule is not None and job.schedule.network_seed is not None:
                seeds = seeds[:1]  # its steps belong to one network, and training has a single outcome
            yield from train_networks(job, seeds, expected_networks)

    def _row(self, network: Network, images: Tensor) -> dict[str, float]:
        logits = predict(network, images, self.evaluator.compute)
        row = score_logits(logits, self._real)
        if self.votes is not None:
            row.update(accuracy_by_agreement(logits, self._real.labels, self.votes, self.num_annotators))
        return row


def accuracy_by_agreement(
    logits: Tensor, labels: Tensor, votes: Tensor, num_annotators: int
) -> dict[str, float]:
    """Accuracy apart for images on which more or fewer annotators agreed.

    Args:
        logits: [n, 2].
        labels: [n] int64, the majority's class.
        votes: [n] int64, those of ``num_annotators`` who chose class 1.
        num_annotators: of each image.

    Returns:
        ``accuracy_agreement_<k>`` for every size k of the majority that occurs, smallest first.

    Raises:
        ShapeError: there is not one vote count an image, or one exceeds ``num_annotators``.
    """
    if votes.shape != labels.shape or int(votes.max()) > num_annotators or int(votes.min()) < 0:
        raise ShapeError(
            f"votes {tuple(votes.shape)} up to {int(votes.max())}: expected one of 0 to {num_annotators} for each "
            f"of {len(labels)} images"
        )
    votes = votes.to(labels.device)
    agreement = torch.maximum(votes, num_annotators - votes)
    return {
        f"accuracy_agreement_{count}": accuracy(logits[agreement == count], labels[agreement == count])
        for count in sorted(set(agreement.tolist()))
    }


def _noise(images: Tensor, generators: Generators) -> Tensor:
    source = generators["noise"]
    return torch.randn(images.shape, generator=source, device=source.device).to(images.device)
