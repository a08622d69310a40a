"""Names of the user's own images, under which experiments and registered sets of them are found."""

from __future__ import annotations

import re
from pathlib import Path

from study.data.datasets import DATASETS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_data_name(name: str) -> str:
    """The name, if a set can be registered under it and no dataset has it.

    Raises:
        ValueError: it holds other signs, or is that of a dataset whose images are always the same.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("use letters, digits, '.', '-' and '_', starting with a letter or digit")
    if name in DATASETS and not DATASETS[name].users_own:
        raise ValueError(
            f"a dataset has this name, whose sets yours must not be mistaken for; try {name}-folder"
        )
    return name


def name_of_folder(root: Path, dataset: str) -> str:
    """A name for the images in a folder: the folder's own, without signs that a name cannot have.

    Example:
        >>> name_of_folder(Path("/data/my flowers"), "folder"), name_of_folder(Path("mnist"), "folder")
        ('my-flowers', 'mnist-folder')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("-._") or dataset
    return f"{name}-{dataset}" if name in DATASETS and not DATASETS[name].users_own else name
