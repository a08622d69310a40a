"""Tensors made from real data once and kept in the user's cache folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.core.config import digest
from study.core.errors import DataError, StudyError
from study.core.files import cache_folder, replace_file

_LOG = logging.getLogger(__name__)
_FORMAT = 1
"""Part of every key: raise it when the same key would give other tensors."""

IsWhole = Callable[[Mapping[str, Tensor]], bool]


def cached(
    name: str, key: Mapping[str, Any], build: Callable[[], dict[str, Tensor]], is_whole: IsWhole | None = None
) -> tuple[dict[str, Tensor], Path]:
    """The tensors kept under a key, built on first use; also the file they are in.

    Two processes share one build, a killed build leaves nothing behind, and a damaged file is rebuilt.

    Args:
        name: readable start of the file name.
        key: plain values that determine the tensors, which ``build`` makes.
        build: called where no whole file is there.
        is_whole: what fails this check is built again.

    Raises:
        DataError: the cache folder cannot be written.
    """
    path = _path(name, key)
    if (tensors := _read(path, is_whole)) is not None:
        return tensors, path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (tensors := _read(path, is_whole)) is None:
                tensors = build()
                with replace_file(path) as temporary:
                    save_file(tensors, temporary)
    except StudyError:
        raise
    except OSError as error:
        raise DataError(
            f"cannot write the cache {path}: {error}; set STUDY_CACHE to another folder"
        ) from error
    return tensors, path


def find_cached(
    name: str, key: Mapping[str, Any], is_whole: IsWhole | None = None
) -> dict[str, Tensor] | None:
    """The tensors kept under a key, or None; nothing is built or written."""
    return _read(_path(name, key), is_whole)


def _path(name: str, key: Mapping[str, Any]) -> Path:
    return cache_folder() / "data" / f"{name}-{digest({'format': _FORMAT, **key})[:32]}.safetensors"


def _read(path: Path, is_whole: IsWhole | None) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    try:
        tensors: dict[str, Tensor] = load_file(path)
        if is_whole is not None and not is_whole(tensors):
            raise SafetensorError("its values do not match their digest")
    except (SafetensorError, OSError) as error:
        _LOG.warning("cached file %s is damaged and will be made again: %s", path, error)
        return None
    return tensors
