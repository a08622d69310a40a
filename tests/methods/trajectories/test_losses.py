from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from study.core.errors import ConfigError, ShapeError
from study.methods.trajectories.losses import num_discarded, trajectory_matching_loss


def vectors(length: int = 11) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, dtype=torch.float64, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("drop", ["shallow", "low_loss"])
@pytest.mark.parametrize("discard_fraction", [0.0, 0.3, 1 - 1 / 11])
def test_one_where_nothing_moved_and_zero_at_the_target(drop, discard_fraction) -> None:
    _, target, start = vectors()
    kwargs = {"drop": drop, "discard_fraction": discard_fraction}
    assert float(trajectory_matching_loss(start, target, start, **kwargs)) == 1
    assert float(trajectory_matching_loss(target, target, start, **kwargs)) == 0


@pytest.mark.parametrize("discard_fraction", [0.0, 0.25, 0.5, 1 - 1 / 11])
def test_shallow_leaves_out_the_first_elements(discard_fraction: float) -> None:
    end, target, start = vectors()
    k = num_discarded(11, discard_fraction)
    error, way = (end - target).numpy()[k:], (start - target).numpy()[k:]
    loss = trajectory_matching_loss(end, target, start, discard_fraction=discard_fraction)
    assert float(loss) == pytest.approx(float((error**2).sum() / (way**2).sum()), rel=1e-12)


def test_low_loss_leaves_out_the_smallest_errors() -> None:
    end, target, start = vectors()
    error, way = (end - target).numpy(), (start - target).numpy()
    kept = np.argsort(error**2)[5:]
    loss = trajectory_matching_loss(end, target, start, discard_fraction=0.5, drop="low_loss")
    assert float(loss) == pytest.approx(float((error[kept] ** 2).sum() / (way[kept] ** 2).sum()), rel=1e-12)
    assert float(loss) != pytest.approx(
        float(trajectory_matching_loss(end, target, start, discard_fraction=0.5))
    )


@pytest.mark.parametrize("drop", ["shallow", "low_loss"])
def test_gradient_is_that_of_the_whole_loss_with_entries_zeroed_by_hand(drop) -> None:
    end, target, start = vectors()
    keep = torch.ones(11, dtype=torch.float64)
    if drop == "shallow":
        keep[:4] = 0
    else:
        keep[(end - target).abs().argsort()[:4]] = 0
    end.requires_grad_()
    masked = trajectory_matching_loss(end, target, start, discard_fraction=0.4, drop=drop)
    by_hand = ((end - target) * keep).square().sum() / ((start - target) * keep).square().sum()
    (one,), (other,) = torch.autograd.grad(masked, end), torch.autograd.grad(by_hand, end)
    assert torch.allclose(one, other, rtol=1e-12, atol=0)
    assert (one == 0).sum() == 4


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.25, 80_002), (0.5, 160_005)])
def test_number_of_discarded_elements_at_published_sizes(fraction: float, expected: int) -> None:
    assert num_discarded(320_010, fraction) == expected


@pytest.mark.parametrize("length", [7, 49, 320_010, 891_138])
def test_one_element_is_left_at_least(length: int) -> None:
    assert num_discarded(length, 1 - 1 / length) == length - 1
    assert num_discarded(length, 1 - 1e-12) == length - 1


def test_bad_fractions_and_shapes_are_refused() -> None:
    end, target, start = vectors()
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="discard_fraction"):
            trajectory_matching_loss(end, target, start, discard_fraction=fraction)
    with pytest.raises(ShapeError, match=r"\(11,\), \(10,\)"):
        trajectory_matching_loss(end, target[1:], start)
