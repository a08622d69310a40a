"""What a synthetic-set folder says about itself; how it is stored is left to :mod:`study.sets.files`."""

from __future__ import annotations

import json
from typing import Any

from pydantic import AliasChoices, Field, ValidationError, field_validator

from study.core.config import Frozen
from study.core.errors import CorruptSetError
from study.core.records import Score, StepSchedule
from study.sets.pixels import PixelRecord

SCHEMA_VERSION = 2
"""Raised whenever an older reader would misunderstand a newer manifest; all versions up to this are read.

Version 2 added ``schedule``.
"""


class FileRecord(Frozen):
    """One file of the folder as it was written."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hex digest of its bytes."""
    size: int = Field(ge=0)
    """Bytes."""


class ScoreRecord(Frozen):
    """How fresh networks trained on the set, or on a baseline, classify real images."""

    metric: str
    """``accuracy`` or ``balanced_accuracy``, as fractions."""
    mean: float
    """Over evaluation seeds."""
    std: float = Field(ge=0)
    """Sample deviation over evaluation seeds, ddof 1; 0 for a single seed."""
    n: int = Field(ge=1)
    """Evaluation seeds: networks trained from scratch."""
    extra: dict[str, float] = Field(default_factory=dict)
    """Means of further metrics, such as ``auc``."""

    @classmethod
    def of(cls, score: Score) -> ScoreRecord:
        """The record of a score; further metrics keep their mean."""
        return cls(metric=score.metric, mean=score.mean, std=score.std, n=score.n, extra=score.extra_means())


class ScheduleRecord(Frozen):
    """The steps a set was learned with; the steps themselves lie beside the images.

    ``schedule.order`` holds the images of each step, ``schedule.step_sizes`` the learning rate of each.
    """

    num_steps: int = Field(ge=1)
    """Plain gradient steps, without momentum, weight decay or augmentation (N)."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    network_seed: int | None = Field(None, ge=0)
    """Of a CPU generator that draws the one network the set was learned for; None for random networks."""

    @classmethod
    def of(cls, schedule: StepSchedule) -> ScheduleRecord:
        """The record of a schedule."""
        return cls(
            num_steps=len(schedule), batch_size=schedule.batch_size, network_seed=schedule.network_seed
        )


class LeakageRecord(Frozen):
    """How near the images come to the real training images they were made from.

    A near copy lies, in normalised pixels or in features of a fixed random network, no farther from a
    training image than the share ``quantile`` of training images lies from its own nearest neighbour.
    """

    num_images: int = Field(ge=1)
    """Synthetic images compared."""
    num_near_copies: int = Field(ge=0)
    """Near copies in either space."""
    num_exact_copies: int = Field(ge=0)
    """Images that equal a training image in every pixel."""
    num_near_in_pixels: int = Field(ge=0)
    """Near copies by pixels."""
    num_near_in_features: int = Field(ge=0)
    """Near copies by features."""
    quantile: float = Field(gt=0, lt=1)
    """Of the distances between real images; the rule's only setting."""
    pixel_threshold: float = Field(ge=0)
    """That quantile in pixels."""
    feature_threshold: float = Field(ge=0)
    """That quantile in features."""
    smallest_pixel_distance: float = Field(ge=0)
    """Of a synthetic to a real image."""
    smallest_feature_distance: float = Field(ge=0)
    """Likewise in features."""


class CrossRecord(Frozen):
    """How networks that the set was not distilled with learn from it, on validation."""

    n: int = Field(ge=1)
    """Evaluation seeds of each architecture."""
    distilled: dict[str, float]
    """Mean accuracy by architecture, with ``mean`` and ``worst`` over all of them."""
    random: dict[str, float] = Field(default_factory=dict)
    """The same of random real images; empty where nobody measured it."""
    distilled_std: dict[str, float] = Field(default_factory=dict)
    """Sample deviation (ddof 1) by architecture; empty in sets of older versions."""
    random_std: dict[str, float] = Field(default_factory=dict)
    """The same of random real images."""
    random_n: int | None = Field(None, ge=1)
    """Draws of random real images; None in sets of older versions, where it was ``n``."""


class FullDataRecord(Frozen):
    """What the same architecture reaches on all real training images, by a recipe of its own."""

    num_images: int = Field(ge=1)
    """Real training images, without those held out for validation."""
    num_epochs: int = Field(ge=1)
    """Passes over them."""
    scores: dict[str, ScoreRecord]
    """By split: ``validation``, ``test``."""


class Manifest(Frozen):
    """Everything a stranger needs in order to use, judge and replay a synthetic set.

    ``num_images``, ``image_shape``, ``class_names``, ``ipc``, ``step_size``, ``soft_labels``,
    ``schedule``, ``preprocessing``, ``pixels`` and ``files`` are filled in when the set is written; what a caller
    gives for them is replaced.
    """

    schema_version: int = SCHEMA_VERSION
    """Of this format."""
    name: str
    """Registry name it was made for, such as ``digits-dm-ipc1``."""

    dataset: str
    """Name of the real dataset."""
    dataset_fingerprint: str = ""
    """Digest of the real images and labels."""
    dataset_licence: str = ""
    """Licence or terms of the real images, which bind the synthetic ones too."""
    class_names: tuple[str, ...] = ()
    """One name a class, in label order."""
    ipc: int = 0
    """Images per class."""
    num_images: int = 0
    """Images in all."""
    image_shape: tuple[int, int, int] = (0, 0, 0)
    """Channels, height, width."""
    soft_labels: bool = False
    """Whether ``logits`` are stored beside the labels."""

    method: str
    """Name of the distillation method."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The full configuration of the run."""
    config_digest: str = ""
    """SHA-256 of the configuration."""
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    """From pixels in [0, 1] to the space of the images; its tensors lie beside the images."""
    evaluation: dict[str, Any] = Field(default_factory=dict)
    """The recipe the set is meant to be trained with."""
    step_size: float | None = None
    """Learning rate that was learned with the images."""
    schedule: ScheduleRecord | None = None
    """Steps that were learned with the images; evaluation replays them unless told otherwise."""
    seeds: dict[str, int] = Field(default_factory=dict)
    """Roots of all random numbers, by purpose."""

    scores: dict[str, ScoreRecord] = Field(default_factory=dict)
    """``validation``, ``test`` where it was opened, and the baselines ``random_validation``,
    ``random_test`` (random real images, same IPC and recipe) and ``start_validation`` (before the first
    iteration)."""

    cross: CrossRecord | None = None
    """Scores on other architectures, as the trial measured them; None where it measured none."""
    # Sets of the first versions call it whole_data.
    full_data: FullDataRecord | None = Field(None, validation_alias=AliasChoices("full_data", "whole_data"))
    """All real training images, where their score was known when the set was registered."""

    pixels: PixelRecord | None = None
    """Where the pixels lie; None in sets of older versions."""
    faults: tuple[str, ...] = ()
    """Why the set could not be ``best`` when it was registered."""
    warnings: tuple[str, ...] = ()
    """What speaks against it besides."""

    leakage: LeakageRecord | None = None
    """Copies of real images among the synthetic ones; None where nobody looked, as in sets of trials."""

    origin_run_id: str = ""
    """The tracked run it came from."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of study, torch, python."""
    git_commit: str = ""
    """Of the code, with ``-dirty`` where the working tree differed; empty outside a repository."""

    files: dict[str, FileRecord] = Field(default_factory=dict)
    """Every other file of the folder."""

    @field_validator("files")
    @classmethod
    def _names_stay_inside(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        for name in files:
            # A set folder is flat, so a plain name is all there can be.
            if not name or name in {".", ".."} or any(sign in name for sign in "/\\:\0"):
                raise ValueError(f"file name {name!r} leaves the set folder")
        return files

    def dumps(self) -> str:
        """JSON with sorted keys, the same text for the same values."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, allow_nan=False) + "\n"

    def plain(self) -> dict[str, Any]:
        """Nested plain values for ``--json``."""
        return self.model_dump(mode="json")


def parse_manifest(text: str, where: str) -> Manifest:
    """Read the JSON of a manifest, which messages call ``where``.

    Raises:
        CorruptSetError: it is not JSON, was written by a newer version, or has a wrong value.
    """
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise CorruptSetError(f"{where} is not JSON: {error}") from error
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise CorruptSetError(f"{where} is no manifest of a synthetic set: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise CorruptSetError(
            f"{where} has schema {version}, this version of study reads up to {SCHEMA_VERSION}; upgrade study"
        )
    try:
        return Manifest.model_validate(plain)
    except ValidationError as error:
        fault = error.errors()[0]
        dotted = ".".join(str(part) for part in fault["loc"])
        raise CorruptSetError(f"{where}: {dotted}: {fault['msg'].removeprefix('Value error, ')}") from error
