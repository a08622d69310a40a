"""Expert trajectories on demand: trained once, shared through the cache by trials and processes."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from study.core.config import digest
from study.core.device import num_cores
from study.core.digests import dataset_digest
from study.core.errors import DataError, ShapeError
from study.core.records import ImageDataset
from study.core.seeding import Generators
from study.methods.base import Task
from study.methods.experts.building import ExpertBuild
from study.methods.experts.config import EpochOrder, ExpertConfig, WholeSet
from study.methods.experts.entry import ExpertEntry
from study.methods.experts.file import ExpertFile, Kept
from study.methods.experts.store import ExpertStore, size_limit
from study.methods.experts.training import ExpertRecorder, expert_compute
from study.methods.hooks import Estimate, Preparation

_FORMAT = 1
"""Part of every key: raise it when the same key would give other trajectories."""


class Experts:
    """Trajectories of trained networks, read from the cache; while they live, no process evicts them.

    Attributes:
        key: name of their folder in the cache.
        num_experts: trajectories, 0 .. num_experts - 1.
        kept: which snapshots every one of them has.
        num_epochs: how long each was trained.
        num_built: trained for this call, which took ``build_seconds``; 0 where the cache had them all.
        train_accuracies: of each last snapshot on training images without augmentation.
    """

    def __init__(
        self,
        entry: ExpertEntry,
        files: Sequence[ExpertFile],
        device: torch.device,
        num_built: int,
        seconds: float,
    ) -> None:
        self._entry, self._files, self._device = entry, files, device
        self.key = entry.key
        self.num_experts = len(files)
        self.kept = min((file.kept for file in files), key=lambda kept: kept.last)
        self.num_epochs, self.num_parameters = self.kept.num_epochs, self.kept.num_parameters
        self.num_built, self.build_seconds = num_built, seconds
        self.train_accuracies = [file.train_accuracy for file in files]

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        """Parameters [D] float32 of an expert after that many epochs (0: its random start), yours to change.

        Raises:
            ShapeError: there is no such expert, or the epoch is not kept.
            DataError: the file was damaged since; it is removed, and :func:`obtain_experts` trains it again.
        """
        if not 0 <= expert < self.num_experts or self.kept.row(epoch) is None:
            raise ShapeError(
                f"expert {expert}, epoch {epoch}: there are experts 0 to {self.num_experts - 1} and {self.kept}"
            )
        return self._files[expert].snapshot(epoch).to(self._device)

    def final(self, expert: int) -> Tensor:
        """Parameters [D] of an expert after its last epoch."""
        return self.snapshot(expert, self.num_epochs)

    def preparation(self) -> Preparation:
        """What a run records of them."""
        train_accuracy = sum(self.train_accuracies) / self.num_experts
        return Preparation(
            metrics={
                "cost/experts_built": float(self.num_built),
                "experts/train_accuracy": train_accuracy,
            },
            tags={"study.experts": self.key},
            facts={
                "key": self.key,
                "experts": self.num_experts,
                "built": self.num_built,
                "epochs": self.num_epochs,
                "kept_epochs": self.kept.last,
                "parameters": self.num_parameters,
                "seconds": self.build_seconds,
                "train_accuracy": train_accuracy,
                "folder": str(self._entry.folder),
            },
        )


def experts_key(
    task: Task, config: ExpertConfig, order: Mapping[str, Any], generators: Generators
) -> Mapping[str, Any]:
    """Plain values that determine every trajectory: data, model, settings, key of the order, seed, precision."""
    compute = expert_compute(task, config)
    augmented = config.augment and task.augmentation.operations
    return {
        "format": _FORMAT,
        "data": _digest_of(task.train),
        "model": task.model.model_dump(mode="json"),
        "experts": {**config.key(), "augment": bool(augmented)},
        "augmentation": task.augmentation.model_dump(mode="json") if augmented else None,
        "order": dict(order),
        "seed": generators.seed,
        "device": compute.device.type,
        "precision": str(compute.dtype).removeprefix("torch."),
    }


def estimate_experts(
    task: Task,
    config: ExpertConfig,
    order: Mapping[str, Any],
    generators: Generators,
    seconds: float,
    last: int | None = None,
) -> Estimate:
    """How many experts :func:`obtain_experts` would train, of an order with that key; nothing is run or built.

    ``seconds`` is what training all of them takes; the estimate has the share of those that are missing. Raises
    ConfigError for an architecture with running statistics.
    """
    recorder = ExpertRecorder(task, config, WholeSet(), generators)
    key = _name(experts_key(task, config, order, generators))
    number, wanted = config.num_experts, recorder.kept(last)
    missing = _missing(recorder, wanted, ExpertStore().stored(key, number, wanted))
    return Estimate(
        f"{number} experts of {wanted.num_epochs} epochs, {len(missing)} of them to train",
        seconds * sum(missing.values()) / (number * wanted.num_epochs),
        number * wanted.num_bytes,
        {
            "key": key,
            "experts": number,
            "to_build": len(missing),
            "epochs": wanted.num_epochs,
            "kept_epochs": wanted.last,
        },
    )


def obtain_experts(
    task: Task,
    config: ExpertConfig,
    order: EpochOrder,
    generators: Generators,
    *,
    last: int | None = None,
    num_workers: int | None = None,
) -> Experts:
    """Experts from the cache; those that are missing are trained first, and followed further where they end early.

    Kept are the snapshots of epochs 0 to ``last``, by default all, and the final one.

    On CPUs each expert is trained by one thread, ``num_workers`` at a time (by default one a core, and one in
    all on an accelerator). Expert i draws from ``generators.child("expert", i)`` and is the same to the bit
    in whatever company. Processes that need the same experts share the work; a build that is killed keeps
    what was finished.

    Raises:
        ConfigError: the architecture has running statistics.
        DataError: the cache cannot be written, or the disk is too small for the missing experts.
        ExpertDivergedError: the learning rate is too large.
        ShapeError: the order gives an epoch no image, or positions outside of the training set.

    Source: Cazenavette et al. 2022 (MTT). The released code keeps ``p.detach().cpu()``, which on a CPU makes
        all snapshots equal; here they are copied.
    """
    started = time.perf_counter()
    recorder = ExpertRecorder(task, config, order, generators)
    key = experts_key(task, config, order.key(), generators)
    store = ExpertStore()
    entry = store.entry(_name(key))
    wanted = recorder.kept(last)
    known = [entry.read(expert, wanted) for expert in range(config.num_experts)]
    missing = _missing(recorder, wanted, known)
    num_built = 0
    if missing:
        _make_room(store, [known[expert] for expert in missing], wanted)
        meta = _describe(task, config, key)
        build = ExpertBuild(task, config, order, generators, entry, wanted, missing, meta)
        num_built = build.run(num_workers or _num_workers(task))
        store.prune(max_bytes=size_limit())
    entry.touch()
    files = [entry.read(expert, wanted) for expert in range(config.num_experts)]
    found = [file for file in files if file is not None and file.kept.serves(wanted)]
    if len(found) < len(files):
        raise DataError(
            f"experts vanished from {entry.folder} while they were read; run the same command again"
        )
    seconds = time.perf_counter() - started
    return Experts(entry, found, task.compute.device, num_built, seconds)


def _num_workers(task: Task) -> int:
    # An expert keeps one thread busy, whatever the student may use.
    return num_cores() if task.compute.device.type == "cpu" else 1


def _missing(recorder: ExpertRecorder, wanted: Kept, known: Sequence[ExpertFile | None]) -> dict[int, int]:
    """Experts that do not serve, with the epochs each has to be trained for."""
    return {
        expert: len(recorder.epochs_to_train(wanted, file))
        for expert, file in enumerate(known)
        if file is None or not file.kept.serves(wanted)
    }


def _make_room(store: ExpertStore, replaced: Sequence[ExpertFile | None], wanted: Kept) -> None:
    """Evict what is in the way of new experts; DataError where the disk is too small for them."""
    num_bytes = sum(wanted.num_bytes - (0 if file is None else file.kept.num_bytes) for file in replaced)
    store.make_room(num_bytes)
    if num_bytes > (free := store.free()):
        raise DataError(
            f"the experts need {num_bytes / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free at {store.root}; "
            "set STUDY_CACHE to another folder, or lower experts.num_experts"
        )


def _name(key: Mapping[str, Any]) -> str:
    return digest(key)[:32]


def _describe(task: Task, config: ExpertConfig, key: Mapping[str, Any]) -> Mapping[str, Any]:
    train = task.train
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "image_shape": list(train.image_shape),
        "num_images": len(train),
        "class_names": list(train.class_names),
        "num_epochs": config.num_epochs,
        "torch": torch.__version__,
        "key": key,
    }


_DIGESTS: dict[int, tuple[weakref.ref[ImageDataset], str]] = {}


def _digest_of(dataset: ImageDataset) -> str:
    # Computed once an object: MNIST takes a noticeable time, and trials ask often.
    known = _DIGESTS.get(id(dataset))
    if known is None or known[0]() is not dataset:
        known = weakref.ref(dataset), dataset_digest(dataset)
        _DIGESTS[id(dataset)] = known
    return known[1]
