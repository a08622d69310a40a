"""Pictures of synthetic images: a near-square grid for sliders, and one labelled row a class."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from study.core.errors import ShapeError

__all__ = ["MAX_COLUMNS", "class_rows", "near_square_grid"]

MAX_COLUMNS = 50
"""Images of one class that a row shows; the label says so where there are more."""

GRID_SIDE = 512
"""Pixels that a near-square grid aims at; the UI shows thumbnails of 256."""
ROW_WIDTH, ROWS_HEIGHT = 1200, 900
MIN_TILE, MAX_TILE = 24, 128
GAP = 2
MARGIN = 8
MAX_LABEL_WIDTH = 220
BACKGROUND, INK, FAINT = (255, 255, 255), (32, 32, 32), (120, 120, 120)


def near_square_grid(images: Tensor) -> Image.Image:
    """All images in order, row by row, in the squarest grid that holds them.

    Args:
        images: [n, C, H, W] float32 pixels, 1 or 3 channels; clamped to [0, 1].

    Raises:
        ShapeError: there is no image, or it has other channels.
    """
    tiles = _to_uint8(images)
    num_columns = _squarest(len(tiles), height=tiles.shape[1], width=tiles.shape[2])
    num_rows = math.ceil(len(tiles) / num_columns)
    tiles = _resize(tiles, GRID_SIDE // max(num_columns, num_rows) - GAP)
    height, width = tiles.shape[1:3]
    canvas = torch.full((num_rows * (height + GAP) + GAP, num_columns * (width + GAP) + GAP, 3), 255).byte()
    for index, tile in enumerate(tiles):
        _paste(
            canvas,
            tile,
            index // num_columns * (height + GAP) + GAP,
            index % num_columns * (width + GAP) + GAP,
        )
    return Image.fromarray(canvas.numpy())


def class_rows(images: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> Image.Image:
    """One row a class, its name on the left; at most :data:`MAX_COLUMNS` images a row.

    Args:
        images: [n, C, H, W] float32 pixels, 1 or 3 channels; clamped to [0, 1].
        labels: [n] int64, the row of each image.
        class_names: one name a class, in label order; a class without images keeps its row.

    Raises:
        ShapeError: there is no image, or it has other channels.
    """
    rows = [torch.nonzero(labels == label).flatten() for label in range(len(class_names))]
    longest = max((len(row) for row in rows), default=0)
    num_columns = min(longest, MAX_COLUMNS)
    side = min(ROW_WIDTH // max(num_columns, 1), ROWS_HEIGHT // len(rows))
    tiles = _resize(_to_uint8(images), min(max(side, MIN_TILE), MAX_TILE))
    height, width = tiles.shape[1:3]
    # Rows keep room for a line of text, also where tiles are smaller than that.
    pitch = max(height, 16) + GAP
    font = ImageFont.load_default(size=min(max(pitch // 3, 12), 16))
    captions = [_shorten(name, font) for name in class_names]
    left = MARGIN + math.ceil(max(font.getlength(caption) for caption in captions)) + MARGIN
    note = f"first {MAX_COLUMNS} of {longest} images a class" if longest > MAX_COLUMNS else ""
    foot = pitch if note else 0
    canvas_width = max(left + num_columns * (width + GAP) + MARGIN, left + math.ceil(font.getlength(note)))
    canvas = torch.full((2 * MARGIN + len(rows) * pitch + foot, canvas_width, 3), 255).byte()
    for row, members in enumerate(rows):
        for column, index in enumerate(members[:num_columns].tolist()):
            _paste(canvas, tiles[index], MARGIN + row * pitch, left + column * (width + GAP))
    picture = Image.fromarray(canvas.numpy())
    draw = ImageDraw.Draw(picture)
    for row, caption in enumerate(captions):
        middle = MARGIN + row * pitch + (pitch - GAP) / 2
        draw.text((left - MARGIN, middle), caption, fill=INK, font=font, anchor="rm")
    if note:
        middle = MARGIN + len(rows) * pitch + pitch / 2
        draw.text((left, middle), note, fill=FAINT, font=font, anchor="lm")
    return picture


def _to_uint8(images: Tensor) -> Tensor:
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ShapeError(
            f"cannot draw images of shape {tuple(images.shape)}: expected [n, 1 or 3, height, width]"
        )
    pixels = images.detach().cpu().nan_to_num(0.0).clamp(0, 1).mul(255).round().byte()
    return pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3)


def _resize(tiles: Tensor, side: int) -> Tensor:
    """Scale [n, H, W, 3] uint8 towards a side length: small ones by whole factors, large ones by area."""
    longest = max(tiles.shape[1:3])
    side = max(side, 4)
    factor = side // longest
    if factor >= 1:
        # Nearest, so that a digit of 8 by 8 stays the pixels it is.
        return tiles.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    height, width = (max(1, round(length * side / longest)) for length in tiles.shape[1:3])
    shrunk = torch.nn.functional.interpolate(
        tiles.permute(0, 3, 1, 2).float(), size=(height, width), mode="area"
    )
    return shrunk.round().byte().permute(0, 2, 3, 1)


def _paste(canvas: Tensor, tile: Tensor, top: int, left: int) -> None:
    canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile


def _squarest(count: int, *, height: int, width: int) -> int:
    """Columns that make the picture squarest; of equals, the one with fewer empty tiles."""

    def shape(columns: int) -> tuple[int, int]:
        rows = math.ceil(count / columns)
        return max(columns * width, rows * height), columns * rows - count

    return min(range(1, count + 1), key=shape)


def _shorten(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    shown = name
    while font.getlength(shown) > MAX_LABEL_WIDTH:
        shown = shown.removesuffix("…")[:-1] + "…"
    return shown
