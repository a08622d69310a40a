"""Ridge regression in closed form against the primal one, and what it may not depend on."""

import numpy as np
import pytest
import torch

from study.core.errors import ShapeError
from study.methods.matching.kernel_regression import (
    centred_targets,
    kernel_prediction,
    label_margin_loss,
    regression_loss,
)


def positive(number, width=40, seed=0, dtype=torch.float64):
    """Features as of ReLU and average pooling: none below zero, so that the kernel is nearly of rank one."""
    return torch.rand(number, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def targets_of(number, classes=3, seed=1, dtype=torch.float64):
    return torch.randn(number, classes, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("number", [10, 70])
def test_prediction_equals_the_primal_ridge(number):
    features, targets, queries = positive(number), targets_of(number), positive(15, seed=2)
    x, y = features.numpy(), targets.numpy()
    penalty = 0.05 * np.trace(x @ x.T) / number
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    found = kernel_prediction(features, targets, queries, ridge=0.05)
    np.testing.assert_allclose(found.numpy(), queries.numpy() @ weights, atol=1e-12)


def test_the_sets_own_images_are_predicted_as_their_targets():
    features, targets = positive(10, dtype=torch.float32), targets_of(10, dtype=torch.float32)
    found = kernel_prediction(features, targets, features)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, targets, atol=1e-3, rtol=0)
    exact = kernel_prediction(features.double(), targets.double(), features.double(), ridge=1e-12)
    torch.testing.assert_close(exact, targets.double(), atol=1e-8, rtol=0)


def test_prediction_ignores_the_size_of_features_and_the_order_and_copies_of_images():
    features, targets, queries = positive(10), targets_of(10), positive(15, seed=2)
    found = kernel_prediction(features, targets, queries)
    torch.testing.assert_close(
        kernel_prediction(1e3 * features, targets, 1e3 * queries), found, atol=1e-9, rtol=0
    )
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        kernel_prediction(features[order], targets[order], queries), found, atol=1e-9, rtol=0
    )
    twice = kernel_prediction(torch.cat([features] * 2), torch.cat([targets] * 2), queries)
    torch.testing.assert_close(twice, found, atol=1e-2, rtol=0)
    assert float((twice - found).abs().max()) > 0


def test_gradient_is_that_of_finite_differences():
    features, targets, queries = positive(4, 6), targets_of(4), positive(5, 6, seed=2)
    inputs = [one.requires_grad_() for one in (features, targets, queries)]
    assert torch.autograd.gradcheck(lambda *three: kernel_prediction(*three, ridge=1e-2), inputs)


def test_float32_factors_more_images_than_features_have_entries():
    features, targets = positive(300, 8, dtype=torch.float32), targets_of(300, dtype=torch.float32)
    found = kernel_prediction(features, targets, features)
    exact = kernel_prediction(features.double(), targets.double(), features.double())
    torch.testing.assert_close(found.double(), exact, atol=1e-3, rtol=0)


def test_what_float32_cannot_factor_is_factored_in_float64():
    # Copies of three images; so small a penalty is lost in float32.
    features, targets = positive(3, dtype=torch.float32).repeat(10, 1), targets_of(30, dtype=torch.float32)
    matrix = features @ features.T + 1e-9 * features.square().sum() / 30 * torch.eye(30)
    assert int(torch.linalg.cholesky_ex(matrix)[1]) > 0
    found = kernel_prediction(features, targets, features[:3], ridge=1e-9)
    means = targets.view(10, 3, 3).mean(0)
    torch.testing.assert_close(found, means, atol=0.2, rtol=0)


def test_loss_is_half_the_squared_error_of_classes_that_count_the_same():
    prediction, wanted = targets_of(5), targets_of(5, seed=4)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15], dtype=torch.float64)
    slow = sum(
        float(weights[i]) * 0.5 * float(prediction[i, c] - wanted[i, c]) ** 2
        for i in range(5)
        for c in range(3)
    )
    assert float(regression_loss(prediction, wanted, weights)) == pytest.approx(slow, rel=1e-12)


def test_margin_counts_what_is_missing_and_rests_where_it_is_kept():
    targets = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.2, 0.2, 0.2]], dtype=torch.float64)
    targets[2, 1] += 1e-3
    loss = label_margin_loss(targets.requires_grad_())
    assert float(loss.detach()) == pytest.approx((0 + (1 / 3 - 0.1) + (1 / 3 - 1e-3)) / 3, rel=1e-9)
    (gradient,) = torch.autograd.grad(loss, targets)
    assert gradient[0].tolist() == [0, 0, 0]
    assert gradient[1].tolist() == pytest.approx([-1 / 3, 1 / 3, 0])


def test_targets_have_no_mean():
    found = centred_targets(torch.tensor([0, 2]), 3)
    torch.testing.assert_close(found, torch.tensor([[2.0, -1, -1], [-1, -1, 2]]) / 3)


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"\(4, 6\).*\(3, 3\)"):
        kernel_prediction(positive(4, 6), targets_of(3), positive(5, 6))
