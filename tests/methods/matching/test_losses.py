from __future__ import annotations

import numpy as np
import pytest
import torch

from study.core.errors import ShapeError
from study.methods.matching.losses import (
    attention_matching_loss,
    distribution_matching_loss,
    gradient_distance,
)


def test_distribution_matching_equals_a_loop_over_classes_and_features() -> None:
    random = np.random.default_rng(0)
    real, synthetic = random.normal(size=(3, 7, 5)), random.normal(size=(3, 2, 5))
    slow = 0.0
    for label in range(3):
        for feature in range(5):
            real_mean = sum(real[label, :, feature]) / 7
            synthetic_mean = sum(synthetic[label, :, feature]) / 2
            slow += (real_mean - synthetic_mean) ** 2
    loss = distribution_matching_loss(torch.tensor(real).mean(1), torch.tensor(synthetic).mean(1))
    assert float(loss) == pytest.approx(slow, rel=1e-12)


def test_distribution_matching_has_the_right_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(2, 3, dtype=torch.float64, generator=generator)
    synthetic = torch.rand(2, 3, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda means: distribution_matching_loss(real, means), synthetic)


@pytest.mark.parametrize(("real", "synthetic"), [((2, 3), (2, 4)), ((2, 3), (1, 3)), ((3,), (3,))])
def test_distribution_matching_refuses_shapes_that_would_broadcast(
    real: tuple[int, ...], synthetic: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match="expected \\[classes, d\\] twice"):
        distribution_matching_loss(torch.zeros(real), torch.zeros(synthetic))


def test_attention_loss_equals_a_loop_over_layers_classes_and_pixels() -> None:
    random = np.random.default_rng(1)
    real = [random.normal(size=(3, size)) for size in (16, 4)]
    made = [random.normal(size=(3, size)) for size in (16, 4)]
    slow = 0.0
    for weight, one, other in zip((0.5, 1.5), real, made, strict=True):
        for label in range(3):
            for pixel in range(one.shape[1]):
                slow += weight * (one[label, pixel] - other[label, pixel]) ** 2
    loss = attention_matching_loss(
        [torch.tensor(one) for one in real], [torch.tensor(one) for one in made], (0.5, 1.5)
    )
    assert float(loss) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 1.0, 1.0)])
def test_attention_loss_wants_one_weight_a_layer(weights: tuple[float, ...]) -> None:
    maps = [torch.zeros(2, 4), torch.zeros(2, 4)]
    with pytest.raises(ShapeError, match="2 real and 2 synthetic attention layers under"):
        attention_matching_loss(maps, maps, weights)


def example_gradients(seed: int) -> list[torch.Tensor]:
    """Two classes; a convolution, its bias, a layer norm's scale and a classifier."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 4, 3, 3, 3), (2, 4), (2, 4, 5, 5), (2, 10, 6)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


NUM_ROWS = 2 * (4 + 4 + 10)


def test_grouped_cosine_equals_a_numpy_loop_over_rows() -> None:
    real, made = example_gradients(0), example_gradients(1)
    slow = 0.0
    for one, other in zip(real, made, strict=True):
        if one.ndim < 3:
            continue
        for label in range(2):
            for row in range(one.shape[1]):
                a, b = one[label, row].numpy().ravel(), other[label, row].numpy().ravel()
                slow += 1 - np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6)
    assert float(gradient_distance(real, made)) == pytest.approx(slow, rel=1e-12)


def test_other_distances_equal_numpy_over_all_parameters_of_a_class() -> None:
    real, made = example_gradients(0), example_gradients(1)
    flat = [np.concatenate([one.flatten(1).numpy() for one in side], axis=1) for side in (real, made)]
    assert float(gradient_distance(real, made, "mse")) == pytest.approx(((flat[0] - flat[1]) ** 2).sum())
    slow = sum(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6) for a, b in zip(*flat, strict=True))
    assert float(gradient_distance(real, made, "cosine")) == pytest.approx(slow)


def test_grouped_cosine_of_equal_and_opposite_gradients() -> None:
    real = example_gradients(0)
    shortest = min(float(row.norm()) for one in real if one.ndim > 2 for row in one.flatten(0, 1).flatten(1))
    assert 0 <= float(gradient_distance(real, real)) <= NUM_ROWS * 1e-6 / shortest**2
    assert float(gradient_distance(real, [-one for one in real])) == pytest.approx(2 * NUM_ROWS, rel=1e-5)


def test_grouped_cosine_ignores_scale_and_biases() -> None:
    real, made = example_gradients(0), example_gradients(1)
    reference = float(gradient_distance(real, made))
    assert float(gradient_distance(real, [7 * one for one in made])) == pytest.approx(reference, rel=1e-5)
    assert float(gradient_distance([0.2 * one for one in real], made)) == pytest.approx(reference, rel=1e-5)
    made[1] = made[1] + 100
    assert float(gradient_distance(real, made)) == reference


@pytest.mark.parametrize("metric", ["grouped_cosine", "cosine", "mse"])
def test_gradient_distance_has_the_right_gradient(metric: str) -> None:
    real = [one[:, :2] for one in example_gradients(0)]
    made = [one[:, :2].clone().requires_grad_() for one in example_gradients(1)]
    assert torch.autograd.gradcheck(lambda *all_made: gradient_distance(real, all_made, metric), made)


def test_a_dead_unit_counts_one_and_gives_no_nan() -> None:
    real, made = example_gradients(0), example_gradients(0)
    made[0][0, 1] = 0
    made[0].requires_grad_()
    loss = gradient_distance(real, made)
    (grad,) = torch.autograd.grad(loss, made[0])
    assert loss.item() == pytest.approx(1, abs=1e-3)
    assert grad.isfinite().all()


def test_gradients_of_different_networks_are_refused() -> None:
    with pytest.raises(ShapeError, match="4 real and 3 synthetic parameters"):
        gradient_distance(example_gradients(0), example_gradients(0)[:3])
