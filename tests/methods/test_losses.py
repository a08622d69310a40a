from __future__ import annotations

import numpy as np
import pytest
import torch

from study.core.errors import ShapeError
from study.methods.losses import distribution_matching_loss


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
