"""Pictures of synthetic images: a near-square grid for sliders, and one labelled row a class."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from study.core.errors import ShapeError

MAX_COLUMNS = 50
"""Images of one class that a row shows; the label says so where there are more."""

Pixels = NDArray[np.uint8]

GRID_SIDE = 512
"""Pixels that a near-square grid aims at; the UI shows thumbnails of 256."""
ROW_WIDTH, ROWS_HEIGHT = 1200, 900
MIN_TILE, MAX_TILE = 24, 128
GAP = 2
MARGIN = 8
MAX_LABEL_WIDTH = 220
BACKGROUND, INK, FAINT = (255, 255, 255), (32, 32, 32), (120, 120, 120)


def near_square_grid(images: Tensor, ipc: int = 1) -> Image.Image:
    """All images in order, row by row, in the squarest grid that mixes no classes in a row, grey or RGB.

    Args:
        images: [n, C, H, W] float32 pixels, 1 or 3 channels; clamped to [0, 1].
        ipc: images of each class, which follow each other: a row holds whole classes, or a class whole rows.

    Raises:
        ShapeError: there is no image, or it has other channels.
    """
    tiles = to_uint8(images)
    num_columns = _squarest(len(tiles), ipc, height=tiles.shape[1], width=tiles.shape[2])
    num_rows = math.ceil(len(tiles) / num_columns)
    tiles = _resize(tiles, GRID_SIDE // max(num_columns, num_rows) - GAP)
    return to_picture(_lay_out(tiles, num_rows, num_columns))


def class_rows(images: Tensor, labels: Tensor, class_names: tuple[str, ...], note: str = "") -> Image.Image:
    """One row a class, its name on the left; at most :data:`MAX_COLUMNS` images a row.

    Args:
        images: [n, C, H, W] float32 pixels, 1 or 3 channels; clamped to [0, 1].
        labels: [n] int64, the row of each image.
        class_names: one name a class, in label order; a class without images keeps its row.
        note: a line below the picture.

    Raises:
        ShapeError: there is no image, or it has other channels.
    """
    rows = [torch.nonzero(labels == label).flatten() for label in range(len(class_names))]
    longest = max((len(row) for row in rows), default=0)
    num_columns = min(longest, MAX_COLUMNS)
    side = min(ROW_WIDTH // max(num_columns, 1), ROWS_HEIGHT // len(rows))
    tiles = _resize(to_uint8(images), min(max(side, MIN_TILE), MAX_TILE))
    height, width = tiles.shape[1:3]
    # Rows keep room for a line of text, also where tiles are smaller than that.
    pitch = max(height, 16) + GAP
    font = ImageFont.load_default(size=min(max(pitch // 3, 12), 16))
    captions = [_shorten(name, font) for name in class_names]
    left = MARGIN + math.ceil(max(font.getlength(caption) for caption in captions)) + MARGIN
    some = f"first {MAX_COLUMNS} of {longest} images a class" if longest > MAX_COLUMNS else ""
    note = "; ".join(filter(None, (some, note)))
    foot = pitch if note else 0
    canvas_width = max(left + num_columns * (width + GAP) + MARGIN, left + math.ceil(font.getlength(note)))
    canvas = np.full((2 * MARGIN + len(rows) * pitch + foot, canvas_width, tiles.shape[3]), 255, np.uint8)
    for row, members in enumerate(rows):
        shown = members[:num_columns].tolist()
        if shown:
            strip = _lay_out(tiles[shown], 1, len(shown))[GAP:]
            top = MARGIN + row * pitch
            canvas[top : top + len(strip), left - GAP : left - GAP + strip.shape[1]] = strip
    picture = to_picture(canvas).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for row, caption in enumerate(captions):
        middle = MARGIN + row * pitch + (pitch - GAP) / 2
        draw.text((left - MARGIN, middle), caption, fill=INK, font=font, anchor="rm")
    if note:
        middle = MARGIN + len(rows) * pitch + pitch / 2
        draw.text((left, middle), note, fill=FAINT, font=font, anchor="lm")
    return picture


def to_uint8(images: Tensor) -> Pixels:
    """[n, H, W, C] of images, C as it was: grey pictures cost a third of coloured ones."""
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ShapeError(
            f"cannot draw images of shape {tuple(images.shape)}: expected [n, 1 or 3, height, width]"
        )
    pixels = images.detach().cpu().nan_to_num(0.0).clamp(0, 1).mul(255).round().byte()
    return pixels.permute(0, 2, 3, 1).numpy()


def _resize(tiles: Pixels, side: int) -> Pixels:
    """Scale [n, H, W, C] towards a side length: small ones by whole factors, large ones by area."""
    side = max(side, 4)
    longest = max(tiles.shape[1:3])
    factor = side // longest
    if factor >= 1:
        # Nearest, so that a digit of 8 by 8 stays the pixels it is.
        return tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = (max(1, round(length * side / longest)) for length in tiles.shape[1:3])
    planes = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2).float()
    shrunk = torch.nn.functional.interpolate(planes, size=(height, width), mode="area")
    return shrunk.round().byte().permute(0, 2, 3, 1).numpy()


def _lay_out(tiles: Pixels, num_rows: int, num_columns: int) -> Pixels:
    """[n, H, W, C] row by row on white, with a gap around each tile; missing ones stay white."""
    count, height, width, channels = tiles.shape
    cells = np.full((num_rows * num_columns, height + GAP, width + GAP, channels), 255, np.uint8)
    cells[:count, GAP:, GAP:] = tiles
    grid = cells.reshape(num_rows, num_columns, height + GAP, width + GAP, channels).swapaxes(1, 2)
    sheet = grid.reshape(num_rows * (height + GAP), num_columns * (width + GAP), channels)
    return np.pad(sheet, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def to_picture(canvas: Pixels) -> Image.Image:
    """A picture of [H, W, C] grey levels, 1 or 3 channels."""
    return Image.fromarray(canvas[:, :, 0] if canvas.shape[2] == 1 else canvas)


def _squarest(count: int, ipc: int, *, height: int, width: int) -> int:
    """Columns that make the picture squarest; of equals, the one with fewer empty tiles."""

    def shape(columns: int) -> tuple[int, int]:
        rows = math.ceil(count / columns)
        return max(columns * width, rows * height), columns * rows - count

    aligned = [columns for columns in range(1, count + 1) if columns % ipc == 0 or ipc % columns == 0]
    return min(aligned, key=shape)


def _shorten(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    shown = name
    while font.getlength(shown) > MAX_LABEL_WIDTH:
        shown = shown.removesuffix("…")[:-1] + "…"
    return shown
