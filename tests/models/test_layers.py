"""The building blocks: sizes a convolution unit announces, norms, padding, widths."""

import pytest
import torch

from study.core.errors import ConfigError, ShapeError
from study.models.layers import ConvUnit, build_norm, check_image_shape, scale_widths, widen_28


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (28, 33)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, (1, 1)), (5, 1, (0, 2)), (7, 2, (3, 3)), (3, 2, (1, 1))]
)
@pytest.mark.parametrize("norm", ["layer", "instance"])
def test_a_unit_knows_the_size_of_its_maps(size, kernel, stride, padding, norm):
    unit = ConvUnit(2, 4, size, kernel=kernel, stride=stride, padding=padding, norm=norm, activation="relu")
    maps = unit(torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(0)))
    assert maps.shape == (3, 4, *unit.size)


@pytest.mark.parametrize(("norm", "axes"), [("instance", (2, 3)), ("layer", (1, 2, 3)), ("batch", (0, 2, 3))])
def test_a_norm_standardises_what_it_spans(norm, axes):
    maps = 3 + 2 * torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    normed = build_norm(norm, (8, 5, 5))(maps).detach()
    torch.testing.assert_close(normed.mean(axes), torch.zeros_like(normed.mean(axes)), atol=1e-5, rtol=0)
    spread = normed.var(axes, correction=0)
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-3, rtol=0)


def test_group_norm_spans_a_quarter_of_the_channels():
    maps = 3 + 2 * torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    groups = build_norm("group", (8, 5, 5))(maps).detach().unflatten(1, (4, 2))
    assert float(groups.mean((2, 3, 4)).abs().max()) < 1e-5
    with pytest.raises(ConfigError, match="6 channels are no multiple of 4"):
        build_norm("group", (6, 5, 5))


@pytest.mark.parametrize(
    ("shape", "padding", "expected"),
    [((1, 28, 28), 1, (3, 3)), ((3, 28, 32), 2, (4, 2)), ((1, 32, 32), 1, (1, 1)), ((3, 8, 8), 2, (2, 2))],
)
def test_only_sides_of_28_pixels_are_widened(shape, padding, expected):
    assert widen_28(shape, padding) == expected


@pytest.mark.parametrize(("width", "expected"), [(64, [64, 96, 128]), (128, [128, 192, 256]), (1, [1, 2, 2])])
def test_widths_keep_their_proportions(width, expected):
    assert scale_widths(width, (128, 192, 256)) == expected


@pytest.mark.parametrize("shape", [(0, 8, 8), (1, 3, 8), (1, 8, 3)])
def test_images_that_are_too_small_are_refused(shape):
    check_image_shape((1, 4, 4), 4)
    with pytest.raises(ShapeError, match="4 x 4 pixels"):
        check_image_shape(shape, 4)
