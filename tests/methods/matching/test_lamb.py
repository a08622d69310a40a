"""LAMB against a plain loop."""

import numpy as np
import torch

from study.methods.matching.lamb import LAMB


def test_steps_are_those_of_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    gradients = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    moved = start.clone().requires_grad_()
    optimizer = LAMB([moved], lr=0.1)
    x, mean, square = start.numpy().copy(), 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        moved.grad = gradient.clone()
        optimizer.step()
        g = gradient.numpy()
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        direction = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-6)
        x = x - 0.1 * np.linalg.norm(x) / np.linalg.norm(direction) * direction
    np.testing.assert_allclose(moved.detach().numpy(), x, rtol=1e-9)


def test_a_step_is_a_share_of_what_moves_and_starts_from_zero_too():
    moved, zero = torch.full((8,), 5.0, requires_grad=True), torch.zeros(8, requires_grad=True)
    optimizer = LAMB([moved, zero], lr=0.1)
    for tensor in (moved, zero):
        tensor.grad = torch.full((8,), 1e-3)
    optimizer.step()
    torch.testing.assert_close(moved.detach(), torch.full((8,), 4.5))
    torch.testing.assert_close(zero.detach(), torch.full((8,), -0.1), atol=2e-4, rtol=0)
