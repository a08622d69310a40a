from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from study.core.config import build
from study.core.errors import ConfigError, ShapeError
from study.data.augment import AugmentationConfig, augment, draw, join

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
EVERYTHING = "color_crop_cutout_flip_scale_rotate"
COLOUR = (3, 12, 12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_of(num_images: int, shape: tuple[int, int, int] = COLOUR, seed: int = 5) -> torch.Tensor:
    return torch.randn(num_images, *shape, generator=generator(seed))


def record_of(
    strategy: str, num_draws: int, shape=COLOUR, *, shared_op: bool = False, seed: int = 0, **ranges
):
    config = AugmentationConfig(strategy=strategy, **ranges)
    return draw(config, num_draws, shape, generator(seed), shared_op=shared_op)


def with_numbers(record, columns: slice, values: list[float]):
    uniform = record.uniform.clone()
    uniform[:, columns] = torch.tensor(values)
    return replace(record, uniform=uniform)


@pytest.mark.parametrize("mode", ["single", "all"])
@pytest.mark.parametrize("shared_op", [True, False])
def test_a_record_replays_to_the_same_bits(mode, shared_op):
    images = images_of(20)
    record = record_of(EVERYTHING, 20, shared_op=shared_op, mode=mode)
    first, second = augment(images, record), augment(images.clone(), record)
    assert torch.equal(first, second)
    again = record_of(EVERYTHING, 20, shared_op=shared_op, mode=mode)
    assert torch.equal(first, augment(images, again)), "the same seed draws the same record"
    other = record_of(EVERYTHING, 20, shared_op=shared_op, mode=mode, seed=1)
    assert not torch.equal(first, augment(images, other))


def test_siamese_draws_move_real_and_synthetic_images_alike():
    num_classes = 6
    record = record_of(EVERYTHING, num_classes)
    one_image = images_of(1)
    real_classes = torch.arange(num_classes).repeat_interleave(7)
    real = augment(one_image.expand(len(real_classes), -1, -1, -1), record, real_classes)
    synthetic = augment(one_image.expand(num_classes, -1, -1, -1), record, torch.arange(num_classes))
    for label in range(num_classes):
        for image in real[real_classes == label]:
            torch.testing.assert_close(image, synthetic[label])
    assert len(set(record.chosen)) > 1, "classes draw their own operation"


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_one_call_equals_a_loop_over_classes(order):
    record = record_of(EVERYTHING, 8)
    which = torch.arange(8).repeat_interleave(3)
    if order == "shuffled":
        which = which[torch.randperm(len(which), generator=generator(3))]
    images = images_of(len(which))
    together = augment(images, record, which)
    for label in range(8):
        alone = replace(
            record, chosen=record.chosen[label : label + 1], uniform=record.uniform[label : label + 1]
        )
        expected = augment(images[which == label], alone, torch.zeros(3, dtype=torch.int64))
        torch.testing.assert_close(together[which == label], expected)


def test_network_training_shares_the_operation_but_not_the_parameters():
    record = record_of("crop_scale", 16, shared_op=True)
    assert len(record.chosen) == 1
    outputs = augment(images_of(1).expand(16, -1, -1, -1), record)
    assert len({tuple(image.flatten().tolist()) for image in outputs}) > 8


def test_every_operation_is_drawn_about_equally_often():
    record = record_of(EVERYTHING, 6000)
    counts = [record.chosen.count(name) for name in OPERATIONS]
    assert min(counts) > 850
    assert max(counts) < 1150


def test_all_applies_every_operation_in_the_order_written():
    record = record_of("color_crop_flip", 5, mode="all")
    expected = images_of(5)
    for name in ("color", "crop", "flip"):
        expected = augment(
            expected, replace(record, config=AugmentationConfig(strategy=name), chosen=(name,))
        )
    assert torch.equal(augment(images_of(5), record), expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_flow_to_the_pixels_and_are_right(name):
    shape = (3, 5, 5)
    record = record_of(name, 2, shape)
    images = images_of(2, shape).double().requires_grad_()
    (gradient,) = torch.autograd.grad(augment(images, record).square().sum(), images)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
    assert torch.autograd.gradcheck(lambda x: augment(x, record), (images,))


def test_gradients_survive_grouping():
    record = record_of(EVERYTHING, 10)
    images = images_of(10).requires_grad_()
    augment(images, record).sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_none_is_the_identity_and_draws_nothing():
    source = generator()
    before = source.get_state()
    record = draw(AugmentationConfig(), 4, COLOUR, source, shared_op=False)
    images = images_of(4)
    assert augment(images, record) is images
    assert torch.equal(source.get_state(), before)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    for mode in ("single", "all"):
        augment(images_of(6), record_of(EVERYTHING, 6, mode=mode))
    assert torch.equal(torch.get_rng_state(), before)


def test_flip_twice_is_the_identity():
    record = record_of("flip", 10)
    images = images_of(10)
    once = augment(images, record)
    assert torch.equal(augment(once, record), images)
    flipped = (once != images).flatten(1).any(1)
    assert flipped.any()
    assert not flipped.all()
    assert torch.equal(once[flipped], images[flipped].flip(3))


def test_crop_shifts_by_whole_pixels_up_to_its_reach_and_fills_with_zero():
    shape = (2, 28, 28)
    record = record_of("crop", 500, shape)
    images = images_of(500, shape)
    cropped = augment(images, record)
    padded = functional.pad(images, (4, 4, 4, 4))
    shifts = set()
    for image, source in zip(cropped, padded, strict=True):
        matches = [
            (dy, dx)
            for dy in range(9)
            for dx in range(9)
            if torch.equal(source[:, dy : dy + 28, dx : dx + 28], image)
        ]
        assert len(matches) == 1
        shifts.update(matches)
    assert {dy for dy, _ in shifts} == {dx for _, dx in shifts} == set(range(9))


@pytest.mark.parametrize(("size", "reach"), [(8, 1), (28, 4), (32, 4), (64, 8), (224, 28)])
def test_crop_reach_follows_the_size(size, reach):
    shape = (1, size, size)
    record = with_numbers(record_of("crop", 1, shape), slice(4, 6), [1 - 2**-24, 0.0])
    images = images_of(1, shape)
    expected = functional.pad(images, (reach, 0, 0, reach))[:, :, reach:, :size]
    assert torch.equal(augment(images, record), expected)


def test_cutout_blanks_one_rectangle_that_may_overhang():
    shape = (1, 28, 28)
    blank = augment(torch.ones(2000, *shape), record_of("cutout", 2000, shape)) == 0
    heights, widths = blank[:, 0].any(2).sum(1), blank[:, 0].any(1).sum(1)
    assert torch.equal(blank.flatten(1).sum(1), heights * widths), "the blank pixels form a rectangle"
    assert set(heights.tolist()) == set(widths.tolist()) == set(range(7, 15))
    # Its centre lies on each of the 29 gaps between rows equally often; 15 of them keep it inside.
    assert (heights == 14).float().mean().item() == pytest.approx(15 / 29, abs=0.05)


@pytest.mark.parametrize(
    ("number", "rows"), [(0.0, slice(0, 7)), (0.5, slice(7, 21)), (1 - 2**-24, slice(21, 28))]
)
def test_cutout_centres_reach_from_border_to_border(number, rows):
    shape = (1, 28, 28)
    record = with_numbers(record_of("cutout", 1, shape), slice(6, 8), [number, 0.5])
    expected = torch.ones(1, *shape)
    expected[:, :, rows, 7:21] = 0
    assert torch.equal(augment(torch.ones(1, *shape), record), expected)


def test_half_precision_stays_within_the_reach():
    shape = (1, 28, 28)
    record = with_numbers(record_of("crop", 1, shape), slice(4, 6), [1 - 2**-24, 1 - 2**-24])
    images = images_of(1, shape)
    assert torch.equal(augment(images.bfloat16(), record), augment(images, record).bfloat16())


def test_rotate_by_a_right_angle_turns_the_pixels():
    record = with_numbers(record_of("rotate", 1, rotate_degrees=90), slice(3, 4), [1.0])
    images = images_of(1)
    turned = augment(images, record)
    directions = [torch.rot90(images, turns, (2, 3)) for turns in (1, 3)]
    assert any(torch.allclose(turned, expected, atol=1e-5) for expected in directions)


@pytest.mark.parametrize("upright", [False, True])
def test_rotate_keeps_angles_where_images_are_not_square(upright):
    height, width = 21, 41
    image = torch.zeros(1, 1, height, width)
    if upright:
        image[0, 0, 2:19, 20] = 1.0
    else:
        image[0, 0, 10, 5:36] = 1.0
    record = record_of("rotate", 1, (1, height, width), rotate_degrees=15)
    turned = augment(image, with_numbers(record, slice(3, 4), [1.0]))[0, 0]
    y = (torch.arange(height) - 10.0)[:, None] * turned
    x = (torch.arange(width) - 20.0)[None, :] * turned
    slope = (x * y).sum() / (y * y if upright else x * x).sum()
    assert torch.atan(slope.abs()).rad2deg().item() == pytest.approx(15, abs=1.5)


def test_scale_stretches_each_axis_by_its_own_factor():
    size = 64
    images = (torch.arange(size) - (size - 1) / 2).expand(1, 1, size, size).contiguous()
    record = record_of("scale", 1, (1, size, size))
    for number, factor in ((0.0, 1 / 1.2), (0.5, (1.2 + 1 / 1.2) / 2)):
        scaled = augment(images, with_numbers(record, slice(1, 3), [number, 0.5]))
        inner = slice(8, -8)
        torch.testing.assert_close(
            scaled[..., inner, inner], images[..., inner, inner] * factor, atol=1e-3, rtol=0
        )
    shrunk = augment(torch.ones_like(images), with_numbers(record, slice(1, 3), [1.0, 1.0]))
    assert shrunk[0, 0, 0, 0] == 0, "places outside the image are filled with zero"


@pytest.mark.parametrize("channels", [1, 3])
def test_color_is_brightness_then_saturation_then_contrast(channels):
    shape = (channels, 9, 9)
    images = images_of(50, shape)
    record = record_of("color", 50, shape)
    brightness, saturation, contrast = record.uniform[:, 8:11, None, None, None].unbind(1)
    expected = images + (brightness - 0.5)
    gray = expected.mean(1, keepdim=True)
    expected = (expected - gray) * (saturation * 2) + gray
    mean = expected.mean((1, 2, 3), keepdim=True)
    expected = (expected - mean) * (contrast + 0.5) + mean
    torch.testing.assert_close(augment(images, record), expected)


def test_joined_records_act_like_their_parts():
    parts = [record_of(EVERYTHING, 4, shared_op=True, seed=seed) for seed in range(3)]
    images = images_of(12)
    expected = torch.cat([augment(i, r) for i, r in zip(images.split(4), parts, strict=True)])
    torch.testing.assert_close(augment(images, join(parts)), expected)
    with pytest.raises(ShapeError, match="joined"):
        join([parts[0], record_of("flip", 4)])


@pytest.mark.parametrize(
    ("num_images", "shape", "which"),
    [(4, (1, 12, 12), None), (5, COLOUR, None), (4, COLOUR, torch.zeros(3, dtype=torch.int64))],
)
def test_what_does_not_fit_the_record_is_refused(num_images, shape, which):
    with pytest.raises(ShapeError):
        augment(images_of(num_images, shape), record_of(EVERYTHING, 4), which)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strategy": "color_croop"}, "Did you mean 'crop'"),
        ({"strategy": "flip_flip"}, "named twice"),
        ({"strategy": ""}, "unknown augmentation ''"),
        ({"scale_ratio": 0.5}, "greater than or equal to 1"),
    ],
)
def test_bad_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(AugmentationConfig, values)
