from __future__ import annotations

import numpy as np
import pytest
import torch

from study.methods.experts.optimizers import FlatSGD, gsam_direction


def softmax_regression(seed=0, num_images=12, num_features=5, num_classes=3):
    """Gradient of the mean cross-entropy in flat weights, written out in NumPy."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(num_images, num_features))
    targets = np.eye(num_classes)[random.integers(num_classes, size=num_images)]

    def gradient(flat):
        scores = images @ flat.reshape(num_features, num_classes)
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        errors = exponentials / exponentials.sum(axis=1, keepdims=True) - targets
        return (images.T @ errors / num_images).ravel()

    return gradient, random.normal(size=num_features * num_classes)


def slow_gsam(gradient, theta, rho, alpha, adaptive):
    """The update rule one parameter at a time, the split by explicit projection."""
    g = gradient(theta)
    sizes = [abs(t) if adaptive else 1.0 for t in theta]
    norm = sum((s * gi) ** 2 for s, gi in zip(sizes, g, strict=True)) ** 0.5
    moved = np.array([t + rho * s * s * gi / norm for t, s, gi in zip(theta, sizes, g, strict=True)])
    perturbed = gradient(moved)
    unit = perturbed / np.sqrt((perturbed**2).sum())
    parallel = (g * unit).sum() * unit
    return perturbed - alpha * (g - parallel)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_gsam_direction_equals_a_slow_derivation(adaptive, alpha):
    gradient, theta = softmax_regression()

    def gradient_at(flat):
        return torch.from_numpy(gradient(flat.numpy()))

    direction = gsam_direction(torch.from_numpy(theta), gradient_at, rho=0.5, alpha=alpha, adaptive=adaptive)
    expected = slow_gsam(gradient, theta, 0.5, alpha, adaptive)
    np.testing.assert_allclose(direction.numpy(), expected, rtol=1e-9)
    assert np.abs(expected - gradient(theta)).max() > 1e-3  # the ascent step matters at this radius


def test_gsam_switches_change_the_direction():
    gradient, theta = softmax_regression()
    directions = [
        slow_gsam(gradient, theta, 0.5, *switches) for switches in [(0.3, True), (0, True), (0.3, False)]
    ]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.abs(directions[one] - directions[other]).max() > 1e-4


def test_gsam_leaves_its_input_alone_and_survives_a_flat_loss():
    flat = torch.randn(7, generator=torch.Generator().manual_seed(0))
    before = flat.clone()
    direction = gsam_direction(flat, torch.zeros_like, rho=0.01, alpha=0.3)
    assert torch.equal(flat, before)
    assert torch.equal(direction, torch.zeros(7))


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.5, "weight_decay": 0.01}])
def test_flat_sgd_is_the_sgd_of_torch(settings):
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(20, generator=generator, dtype=torch.float64)
    reference = flat.clone().requires_grad_()
    ours, theirs = FlatSGD(0.1, **settings), torch.optim.SGD([reference], lr=0.1, **settings)
    for _ in range(4):
        gradient = torch.randn(20, generator=generator, dtype=torch.float64)
        kept = gradient.clone()
        ours.step(flat, gradient)
        reference.grad = kept.clone()
        theirs.step()
        assert torch.equal(gradient, kept)
    torch.testing.assert_close(flat, reference.detach(), rtol=1e-12, atol=1e-12)
