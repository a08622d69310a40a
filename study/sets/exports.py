"""A verified set in formats that other tools read without ``study``."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from study.core.errors import ConfigError, unknown_name
from study.core.files import replace_folder
from study.core.templates import render
from study.core.words import percent
from study.sets.files import DATA_NAME, StoredSet, set_tensors, unwritable
from study.sets.pixels import PixelRecord
from study.sets.preview import to_picture, to_uint8

RECORD_NAME = "set.json"
"""The manifest of the set an export was made from; not named as in a set folder, which an export is not."""
PARQUET_FILE = "data/train-00000-of-00001.parquet"


def write_export(stored: StoredSet, format: str, output: Path) -> dict[str, Any]:
    """Write a set in another format; the folder appears whole, by rename, or not at all.

    Args:
        stored: what :func:`study.sets.files.read_set` gave, images [n, C, H, W] normalised.
        format: one of :data:`FORMATS`. Floats in ``npz``, ``torch`` and ``parquet`` are those of the set, bit by bit.
        output: must not exist, or be empty.

    Returns:
        ``folder``, bytes of its ``files`` by name, ``clipped`` (share of the pixels that pictures clip; None where
        there are none) and ``left_out`` (what of the set the format has no place for).

    Raises:
        UnknownNameError: there is no such format.
        ConfigError: the images have no picture, or the folder cannot be written.

    Example:
        >>> sorted(FORMATS)
        ['imagefolder', 'npz', 'parquet', 'torch']
    """
    if format not in FORMATS:
        raise unknown_name("export format", format, ["folder", *FORMATS])
    pictured, channels = format in PICTURED, stored.images.shape[1]
    if pictured and channels not in (1, 3):
        raise ConfigError(f"images of {channels} channels have no PNG; choose --format npz or torch")
    record = PixelRecord.of(stored.images, stored.preprocessing)
    left_out = _left_out(stored, format)
    try:
        with replace_folder(output) as partial:
            FORMATS[format](stored, partial)
            (partial / RECORD_NAME).write_text(stored.manifest.dumps(), encoding="utf-8")
            card = render(
                Path(__file__).with_name("templates"), "export.md.j2", m=stored.manifest, format=format,
                head=_front_matter(stored) if format == "parquet" else "", record=RECORD_NAME,
                sha256=stored.manifest.files[DATA_NAME].sha256, left_out=left_out, share=percent,
                clipped=record.clipped if pictured else None,
            )  # fmt: skip
            (partial / "README.md").write_text(card, encoding="utf-8")
            files = {
                path.relative_to(partial).as_posix(): path.stat().st_size
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            }
    except OSError as error:
        raise unwritable(output, error) from error
    clipped = record.clipped if pictured else None
    return {"folder": str(output), "files": files, "clipped": clipped, "left_out": left_out}


def _write_npz(stored: StoredSet, folder: Path) -> None:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in _tensors(stored).items()}
    names = np.array(stored.class_names)
    np.savez(folder / "data.npz", class_names=names, **arrays)


def _write_torch(stored: StoredSet, folder: Path) -> None:
    torch.save({**_tensors(stored), "class_names": list(stored.class_names)}, folder / "data.pt")


def _write_imagefolder(stored: StoredSet, folder: Path) -> None:
    levels = to_uint8(stored.preprocessing.invert(stored.images))
    width = len(str(len(stored.class_names) - 1))
    for index, (level, label) in enumerate(zip(levels, stored.labels.tolist(), strict=True)):
        # Readers number classes by the order of their folders, so the number stands first.
        safe = re.sub(r"[^\w.-]+", "_", stored.class_names[label])
        place = folder / f"{label:0{width}d}_{safe}"
        place.mkdir(exist_ok=True)
        to_picture(level).save(place / f"{index:05d}.png")


def _write_parquet(stored: StoredSet, folder: Path) -> None:
    # Imported here, since the other formats do without it.
    import pyarrow as pa
    from pyarrow import parquet

    levels = to_uint8(stored.preprocessing.invert(stored.images))
    pictures = [{"bytes": _png(level), "path": f"{index:05d}.png"} for index, level in enumerate(levels)]
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cube = pa.list_(pa.list_(pa.list_(pa.float32())))
    columns = {
        "image": pa.array(pictures, picture),
        "label": pa.array(stored.labels.numpy(), pa.int64()),
        "values": pa.array(stored.images.tolist(), cube),
    }
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(stored.class_names), "_type": "ClassLabel"},
        "values": {"shape": list(stored.images.shape[1:]), "dtype": "float32", "_type": "Array3D"},
    }
    if stored.logits is not None:
        columns["logits"] = pa.array(stored.logits.tolist(), pa.list_(pa.float32()))
        features["logits"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    # Where `datasets` looks for the types of its columns.
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = folder / PARQUET_FILE
    path.parent.mkdir()
    parquet.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def _front_matter(stored: StoredSet) -> str:
    """What Hugging Face reads of a card."""
    import yaml

    manifest = stored.manifest
    facts = {
        "pretty_name": manifest.name,
        "license": "other",
        "license_name": manifest.dataset_licence or "unknown",
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "synthetic", manifest.dataset, manifest.method],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    }
    return str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))


def _left_out(stored: StoredSet, format: str) -> list[str]:
    if format not in PICTURED:
        return []
    parts = {
        "soft labels": format == "imagefolder" and stored.logits is not None,
        "the learned schedule": stored.schedule is not None,
        "the ZCA matrices": format == "parquet" and bool(stored.preprocessing.tensors()),
    }
    return [name for name, missing in parts.items() if missing]


def _tensors(stored: StoredSet) -> dict[str, torch.Tensor]:
    return set_tensors(stored.synthetic, stored.preprocessing)


def _png(level: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    stream = io.BytesIO()
    to_picture(level).save(stream, "PNG")
    return stream.getvalue()


PICTURED = frozenset({"imagefolder", "parquet"})
"""Formats with 8-bit pictures."""
FORMATS: dict[str, Callable[[StoredSet, Path], None]] = {
    "npz": _write_npz,
    "torch": _write_torch,
    "imagefolder": _write_imagefolder,
    "parquet": _write_parquet,
}
"""Writers by format; ``folder``, the set as it is stored, is a plain copy."""
