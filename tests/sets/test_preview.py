from __future__ import annotations

import numpy as np
import pytest
import torch

from study.core.errors import ShapeError
from study.sets.preview import MAX_COLUMNS, _squarest, class_rows, near_square_grid


def pixels(picture):
    return np.asarray(picture.convert("RGB"))


def numbered(n, channels=1, height=8, width=8):
    """Image i has the constant brightness (i + 1) / (n + 1), so that it can be found again."""
    values = (torch.arange(n) + 1) / (n + 1)
    return values.view(-1, 1, 1, 1).expand(n, channels, height, width).clone()


@pytest.mark.parametrize("n", [1, 2, 3, 10, 20, 100, 500])
@pytest.mark.parametrize("side", [8, 28, 64])
def test_grid_is_near_square_and_holds_every_image(n, side):
    picture = near_square_grid(numbered(n, height=side, width=side))
    width, height = picture.size
    assert max(width, height) <= 1.7 * min(width, height) or n <= 3
    shown = set(np.unique(pixels(picture)).tolist())
    wanted = {round(255 * (i + 1) / (n + 1)) for i in range(n)}
    assert wanted <= shown


def test_grid_order_is_row_by_row():
    picture = pixels(near_square_grid(numbered(4)))
    half = picture.shape[0] // 2
    quarters = [picture[half // 2, half // 2], picture[half // 2, half + half // 2],
                picture[half + half // 2, half // 2], picture[half + half // 2, half + half // 2]]  # fmt: skip
    values = [int(quarter[0]) for quarter in quarters]
    assert values == sorted(values)
    assert len(set(values)) == 4


def test_small_images_are_enlarged_without_blur():
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 3, 4] = 1.0
    picture = pixels(near_square_grid(image))
    assert set(np.unique(picture).tolist()) == {0, 255}
    assert picture.shape[0] > 400


def test_large_images_are_shrunk():
    picture = near_square_grid(numbered(20, channels=3, height=224, width=224))
    assert max(picture.size) <= 600


def test_colours_survive():
    image = torch.zeros(1, 3, 8, 8)
    image[:, 0] = 1.0
    assert pixels(near_square_grid(image))[20, 20].tolist() == [255, 0, 0]


def test_values_outside_the_range_are_clamped_and_nan_is_black():
    image = torch.tensor([-3.0, 7.0, float("nan"), 0.5]).view(1, 1, 2, 2)
    assert set(np.unique(pixels(near_square_grid(image))[4:-4, 4:-4]).tolist()) <= {0, 128, 255}


@pytest.mark.parametrize("ipc", [1, 10, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_show_each_class_in_its_own_row(ipc, channels):
    labels = torch.arange(3).repeat_interleave(ipc)
    images = ((labels + 1) / 4).view(-1, 1, 1, 1).expand(-1, channels, 8, 8).clone()
    # Without letters, whose soft edges take every shade of grey.
    picture = pixels(class_rows(images, labels, ("", "", "")))
    tops = [
        int(np.argwhere((picture == round(255 * (label + 1) / 4)).all(2)).min(0)[0]) for label in range(3)
    ]
    assert tops == sorted(tops)
    assert len(set(tops)) == 3
    counts = [int((picture == round(255 * (label + 1) / 4)).all(2).sum()) for label in range(3)]
    assert counts[0] == counts[1] == counts[2] >= ipc * 24 * 24


def test_class_names_are_drawn_on_the_left():
    images, labels = torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 1])
    blank = pixels(class_rows(images, labels, (" ", " ")))
    named = pixels(class_rows(images, labels, ("cat", "dog")))
    assert named.shape[1] > blank.shape[1]
    tile_left = int(np.argwhere((named == 128).all(2)).min(0)[1])
    assert (named[:, :tile_left] < 100).any()


def test_unsorted_labels_land_in_their_rows():
    images = torch.stack([torch.full((1, 8, 8), 0.75), torch.full((1, 8, 8), 0.25)])
    picture = pixels(class_rows(images, torch.tensor([1, 0]), ("dark", "bright")))
    first_dark = np.argwhere((picture == 64).all(2)).min(0)[0]
    first_bright = np.argwhere((picture == 191).all(2)).min(0)[0]
    assert first_dark < first_bright


def test_more_images_than_columns_say_so():
    few = class_rows(numbered(MAX_COLUMNS), torch.zeros(MAX_COLUMNS, dtype=torch.int64), ("a",))
    many = class_rows(numbered(MAX_COLUMNS + 9), torch.zeros(MAX_COLUMNS + 9, dtype=torch.int64), ("a",))
    assert many.size[0] == few.size[0]
    assert many.size[1] > few.size[1]


def test_a_very_long_name_does_not_push_the_images_away():
    picture = class_rows(numbered(1), torch.tensor([0]), ("sessile serrated adenoma " * 20,))
    assert picture.size[0] < 600


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (2, 2, 8, 8), (8, 8)])
def test_what_cannot_be_drawn_is_refused(shape):
    with pytest.raises(ShapeError, match="cannot draw"):
        near_square_grid(torch.zeros(shape))


@pytest.mark.parametrize(("classes", "ipc"), [(10, 3), (10, 5), (2, 20), (2, 3), (10, 20), (7, 1)])
def test_no_row_of_a_grid_mixes_a_class_with_a_part_of_another(classes, ipc):
    labels = torch.arange(classes).repeat_interleave(ipc)
    columns = _squarest(len(labels), ipc, height=8, width=8)
    for row in torch.split(labels, columns):
        held = row.unique()
        whole = [int((row == label).sum()) == ipc for label in held]
        assert len(held) == 1 or all(whole)
