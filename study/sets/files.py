"""Writing a synthetic-set folder whole or not at all, and reading it back only if every byte is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.core.errors import ConfigError, CorruptSetError, DataError, ShapeError, UnknownSetError
from study.core.files import replace_folder, sha256_file
from study.core.records import StepSchedule, SyntheticSet, image_shape
from study.data.preprocess import Preprocessing
from study.sets.card import render_card
from study.sets.manifest import SCHEMA_VERSION, FileRecord, Manifest, ScheduleRecord, parse_manifest
from study.sets.pixels import PixelRecord
from study.sets.preview import class_rows

DATA_NAME = "data.safetensors"
MANIFEST_NAME = "manifest.json"
PREVIEW_NAME = "preview.png"
CARD_NAME = "README.md"
ORDER_NAME, STEP_SIZES_NAME = "schedule.order", "schedule.step_sizes"
SET_FOLDER = "synthetic_set"
"""Where a run keeps the folder of its set among its artifacts."""


@dataclass(frozen=True, repr=False)
class StoredSet:
    """A verified synthetic set together with everything it knows about itself.

    Attributes:
        synthetic: images, labels, soft labels, learned step size and schedule, on the CPU.
        manifest: provenance, scores, recipe.
        preprocessing: from pixels to the space of the images, and back.
        folder: where it was read; may be temporary, nothing is read from it again.

    Example:
        >>> import study
        >>> stored = study.load(study.distill("random", budget="smoke").winner.set)
        >>> stored.manifest.method, stored.images.shape
        ('random', torch.Size([10, 1, 8, 8]))
    """

    synthetic: SyntheticSet
    manifest: Manifest
    preprocessing: Preprocessing
    folder: Path

    @property
    def images(self) -> Tensor:
        """[n, C, H, W] float32, normalised, not clamped."""
        return self.synthetic.images

    @property
    def labels(self) -> Tensor:
        """[n] int64."""
        return self.synthetic.labels

    @property
    def logits(self) -> Tensor | None:
        """[n, classes] float32 soft labels before softmax, or None."""
        return self.synthetic.logits

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class, in label order."""
        return self.synthetic.class_names

    @property
    def schedule(self) -> StepSchedule | None:
        """Steps that were learned with the images, to be replayed in training, or None."""
        return self.synthetic.schedule

    def __len__(self) -> int:
        return len(self.synthetic)

    def __repr__(self) -> str:
        channels, height, width = self.manifest.image_shape
        return (
            f"StoredSet({self.manifest.name}: {len(self)} images of {channels} x {height} x {width}, "
            f"{len(self.class_names)} classes, {'soft' if self.logits is not None else 'hard'} labels)"
        )

    def as_dataset(self) -> torch.utils.data.TensorDataset:
        """Pairs (image, target) for a ``DataLoader``; soft targets are probabilities."""
        return self.synthetic.as_dataset()

    def normalise(self, images: Tensor) -> Tensor:
        """Bring real images [n, C, H, W] in [0, 1] into the space of this set, before a network sees them."""
        return self.preprocessing.apply(images)


def write_set(
    folder: Path, synthetic: SyntheticSet, manifest: Manifest, preprocessing: Preprocessing
) -> Manifest:
    """Write a set folder; it appears whole, by rename, or not at all.

    The same set gives the same bytes of ``data.safetensors`` in every process.

    Args:
        folder: must not exist, or be empty.
        synthetic: finite images, on any device.
        manifest: what the caller knows; facts of the set and file hashes are filled in.
        preprocessing: of the real data.

    Returns:
        The manifest as stored.

    Raises:
        ConfigError: the folder exists and is not empty, or cannot be written.
        ShapeError: an image or a soft label is not finite.
    """
    synthetic = synthetic.to(torch.device("cpu"))
    tensors, facts = set_tensors(synthetic, preprocessing), _facts(synthetic, preprocessing)
    manifest = manifest.model_copy(update={"schema_version": SCHEMA_VERSION, **facts})
    try:
        with replace_folder(folder) as temporary:
            save_file(tensors, temporary / DATA_NAME)
            pixels = preprocessing.invert(synthetic.images)
            note = manifest.pixels.note if manifest.pixels else ""
            preview = class_rows(pixels, synthetic.labels, synthetic.class_names, note)
            preview.save(temporary / PREVIEW_NAME)
            (temporary / CARD_NAME).write_text(render_card(manifest), encoding="utf-8")
            files = {
                path.name: {"sha256": sha256_file(path), "size": path.stat().st_size}
                for path in sorted(temporary.iterdir())
            }
            # Validated again, so that what is written is sure to be readable.
            manifest = Manifest.model_validate({**manifest.plain(), "files": files})
            (temporary / MANIFEST_NAME).write_text(manifest.dumps(), encoding="utf-8")
    except OSError as error:
        raise unwritable(folder, error) from error
    return manifest


def unwritable(folder: Path, error: OSError) -> ConfigError:
    """What to tell a user whose chosen folder could not be made."""
    if isinstance(error, FileExistsError) and folder.exists():
        return ConfigError(f"{folder} exists and is not an empty folder; choose another")
    return ConfigError(f"cannot write the folder {folder}: {error.strerror or error}")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a set folder, checking nothing else.

    Raises:
        UnknownSetError: there is no such folder.
        CorruptSetError: there is no manifest in it, or it cannot be used.
    """
    if not folder.is_dir():
        raise UnknownSetError(f"{folder} is not a folder")
    path = folder / MANIFEST_NAME
    if path.is_symlink() or not path.is_file():
        raise CorruptSetError(f"{folder} holds no {MANIFEST_NAME}; it is not a synthetic set")
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise CorruptSetError(f"{path} is not JSON: {error}") from error
    except OSError as error:
        raise CorruptSetError(f"cannot read {path}: {error.strerror}") from error


def verify_set(folder: Path) -> Manifest:
    """Check every file of a set folder against its manifest; files the manifest does not name are ignored.

    Raises:
        UnknownSetError: there is no such folder.
        CorruptSetError: the manifest is unusable, or a file is missing, a link, or changed.
    """
    manifest = read_manifest(folder)
    if DATA_NAME not in manifest.files:
        raise CorruptSetError(f"{folder / MANIFEST_NAME} does not list {DATA_NAME}")
    for name, record in manifest.files.items():
        _check_file(folder / name, record)
    return manifest


def read_set(folder: Path) -> StoredSet:
    """Read a set folder after checking every byte.

    Raises:
        UnknownSetError: there is no such folder.
        CorruptSetError: it is incomplete, altered, from a newer version, or contradicts its manifest.
    """
    manifest = verify_set(folder)
    path = folder / DATA_NAME
    try:
        # Cloned, since what is loaded is a view of the file, which may be a temporary one.
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        synthetic = SyntheticSet(
            tensors["images"], tensors["labels"], manifest.class_names, logits=tensors.get("logits"),
            step_size=manifest.step_size, schedule=_schedule(manifest, tensors),
        )  # fmt: skip
        preprocessing = Preprocessing.from_plain(manifest.preprocessing, tensors)
    except KeyError as error:
        raise CorruptSetError(f"{path} has no tensor {error.args[0]!r}") from error
    except (SafetensorError, ShapeError, DataError, OSError) as error:
        raise CorruptSetError(f"{path}: {error}") from error
    for field, value in _facts(synthetic, preprocessing).items():
        if field not in ("preprocessing", "pixels") and getattr(manifest, field) != value:
            stated = getattr(manifest, field)
            raise CorruptSetError(f"{path} has {field} = {value!r}, its manifest says {stated!r}")
    return StoredSet(synthetic, manifest, preprocessing, folder)


def _schedule(manifest: Manifest, tensors: dict[str, Tensor]) -> StepSchedule | None:
    if manifest.schedule is None and ORDER_NAME not in tensors:
        return None
    seed = None if manifest.schedule is None else manifest.schedule.network_seed
    return StepSchedule(tensors[ORDER_NAME], tensors[STEP_SIZES_NAME], seed)


def set_tensors(synthetic: SyntheticSet, preprocessing: Preprocessing) -> dict[str, Tensor]:
    """Every array of a set by name, as ``data.safetensors`` holds them.

    Raises:
        ShapeError: an image or a soft label is not finite.
    """
    named = {"images": synthetic.images, "labels": synthetic.labels}
    if synthetic.logits is not None:
        named["logits"] = synthetic.logits.float()
    if synthetic.schedule is not None:
        named[ORDER_NAME] = synthetic.schedule.order
        named[STEP_SIZES_NAME] = synthetic.schedule.step_sizes
    for name, tensor in named.items():
        if not bool(tensor.isfinite().all()):
            raise ShapeError(f"{name} of a synthetic set must be finite, and are not")
    named.update(preprocessing.tensors())
    # Sorted and contiguous, so that the layout of the file depends on the values alone.
    return {name: named[name].detach().cpu().contiguous() for name in sorted(named)}


def _facts(synthetic: SyntheticSet, preprocessing: Preprocessing) -> dict[str, object]:
    return {
        "class_names": tuple(synthetic.class_names),
        "ipc": synthetic.ipc,
        "num_images": len(synthetic),
        "image_shape": image_shape(synthetic.images),
        "soft_labels": synthetic.logits is not None,
        "step_size": synthetic.step_size,
        "schedule": None if synthetic.schedule is None else ScheduleRecord.of(synthetic.schedule),
        "preprocessing": preprocessing.to_plain(),
        "pixels": PixelRecord.of(synthetic.images, preprocessing),
    }


def _check_file(path: Path, record: FileRecord) -> None:
    if path.is_symlink():
        raise CorruptSetError(f"{path} is a link; a set folder holds plain files only")
    if not path.is_file():
        raise CorruptSetError(f"{path} is missing")
    size = path.stat().st_size
    if size != record.size:
        raise CorruptSetError(f"{path} has {size} bytes, its manifest says {record.size}")
    if sha256_file(path) != record.sha256:
        raise CorruptSetError(f"{path} was changed: its SHA-256 is not the one in the manifest")


def stored_files(folder: Path) -> Iterator[Path]:
    """The files that make up a set folder, the manifest first, without any junk beside them."""
    yield folder / MANIFEST_NAME
    for name in sorted(read_manifest(folder).files):
        yield folder / name
