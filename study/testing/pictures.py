"""Generated pictures to learn from, in the layouts in which users' own and medical ones come."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NUM_FIGURES = 4
_NOISE_CELLS = 8


def paint(label: int, height: int, width: int, random: np.random.Generator) -> NDArray[np.float64]:
    """[height, width] a figure between 0 and 1: 0 is a disc, 1 diagonal stripes, 2 checks, 3 a cross.

    Places and phases are drawn from ``random``.
    """
    rows, columns = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    if label == 1:
        return _bright(np.sin((rows + columns) * 30 + random.uniform(0, 6)) > 0)
    if label == 2:
        down, across = random.uniform(0, 6, 2)
        return _bright(np.sin(rows * 20 + down) * np.sin(columns * 20 + across) > 0)
    centre = random.uniform(0.35, 0.65, 2)
    if label == 0:
        return _bright((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 0.06)
    return _bright(np.minimum(abs(rows - centre[0]), abs(columns - centre[1])) < 0.1)


def write_mhist(folder: Path, num_images: int, side: int, *, contrast: float = 1.0) -> Path:
    """Square pictures in the layout of MHIST: a third SSA (stripes), the rest HP (discs), a quarter for testing.

    Args:
        folder: new, or empty.
        num_images: in all.
        side: pixels.
        contrast: how far the figures stand out from noise that stays; at 1 ten pictures a class tell all others.

    Returns:
        ``folder``, with ``images/`` and ``annotations.csv``; the parent is a data root if it is called ``mhist``.
    """
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    with (folder / "annotations.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        votes_column = "Number of Annotators who Selected SSA (Out of 7)"
        writer.writerow(["Image Name", "Majority Vote Label", votes_column, "Partition"])
        for number in range(num_images):
            label = int(number % 3 == 2)
            name = f"MHIST_{number:03d}.png"
            figure = paint(label, side, side, random)
            noise = _blocks(random.uniform(-0.15, 0.15, (_NOISE_CELLS, _NOISE_CELLS, 3)), side, side)
            pixels = contrast * figure[:, :, None] * [0.3, 0.35, 0.2] + [0.55, 0.35, 0.6] + noise
            _save(pixels, folder / "images" / name)
            votes = int(random.integers(4, 8) if label else random.integers(0, 4))
            writer.writerow([name, ("HP", "SSA")[label], votes, "test" if number % 12 < 3 else "train"])
    return folder


def write_ragged(
    root: Path, counts: Mapping[str, int], *, smallest: int = 40, largest: int = 90, seed: int = 0
) -> Path:
    """Colour pictures of all sizes and proportions, as people's own are: ``root/train/<class>/NNN.png``.

    Each class has its figure, brighter than its ground, in any colours and under noise: no colour tells the class.

    Args:
        root: becomes a data root of the dataset ``folder``.
        counts: pictures of each class by its name, at most :data:`NUM_FIGURES` classes.
        smallest: pixels of a side, at least.
        largest: pixels of a side, at most.
        seed: of everything that is drawn.

    Raises:
        ValueError: there are more classes than figures.
    """
    if len(counts) > NUM_FIGURES:
        raise ValueError(f"{len(counts)} classes; there are figures for {NUM_FIGURES}")
    random = np.random.default_rng(seed)
    for label, (name, count) in enumerate(counts.items()):
        (root / "train" / name).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(smallest, largest + 1, 2)
            figure = paint(label, height, width, random)[:, :, None]
            ground, ink = random.uniform(0.1, 0.6, 3), random.uniform(0.1, 0.5, 3)
            noise = _blocks(random.uniform(-0.25, 0.25, (_NOISE_CELLS, _NOISE_CELLS, 3)), height, width)
            _save(ground + figure * ink + noise, root / "train" / name / f"{number:03d}.png")
    return root


def _bright(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    return inside.astype(np.float64)


def _blocks(cells: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """[height, width, C] a few large cells [n, n, C] over a whole picture."""
    rows, columns = height // len(cells) + 1, width // len(cells) + 1
    return cells.repeat(rows, 0).repeat(columns, 1)[:height, :width]


def _save(pixels: NDArray[np.float64], path: Path) -> None:
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(path, compress_level=1)
