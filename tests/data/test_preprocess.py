from __future__ import annotations

import numpy as np
import pytest
import torch

from study.core.errors import DataError, ShapeError
from study.data.preprocess import Preprocessing, fit_standard, fit_zca

SHAPE = (3, 6, 6)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth random pictures in [0, 1], whose neighbouring pixels are correlated."""
    coarse = torch.rand(600, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (6, 6), mode="bilinear").contiguous()


@pytest.mark.parametrize("kind", ["standard", "zca", "none"])
def test_inverting_gives_the_pixels_back(images, kind):
    fitted = {"standard": fit_standard, "zca": fit_zca, "none": lambda x: Preprocessing("none", SHAPE)}[kind](
        images
    )
    torch.testing.assert_close(fitted.invert(fitted.apply(images)), images, atol=1e-5, rtol=0)


def test_standard_gives_mean_zero_and_deviation_one(images):
    normalised = fit_standard(images).apply(images)
    assert normalised.mean((0, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(normalised.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_a_constant_channel_becomes_zero(images):
    flat = images.clone()
    flat[:, 1] = 0.25
    normalised = fit_standard(flat).apply(flat)
    assert torch.equal(normalised[:, 1], torch.zeros_like(normalised[:, 1]))


def test_whitening_matches_its_formula(images):
    fitted = fit_zca(images)
    flat = images.flatten(1).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
    expected = vectors @ np.diag(1 / np.sqrt(values.clip(0) + 0.1)) @ vectors.T
    np.testing.assert_allclose(fitted.zca_matrix.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(fitted.zca_mean.flatten().numpy(), flat.mean(0), atol=1e-5)


def test_whitened_pixels_are_uncorrelated_as_epsilon_vanishes():
    noise = torch.randn(2000, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    mixed = (noise.flatten(1) @ torch.tril(torch.ones(16, 16))).view_as(noise)
    whitened = fit_zca(mixed, epsilon=1e-6).apply(mixed).flatten(1)
    torch.testing.assert_close(torch.cov(whitened.T), torch.eye(16), atol=1e-2, rtol=0)
    assert not torch.allclose(torch.cov(mixed.flatten(1).T), torch.eye(16), atol=1)


def test_too_large_images_are_not_whitened():
    with pytest.raises(DataError, match=r"12675 x 12675.*Lower --resolution"):
        fit_zca(torch.zeros(2, 3, 65, 65))


@pytest.mark.parametrize("fit", [fit_standard, fit_zca])
def test_storing_and_reading_back_changes_nothing(images, fit):
    fitted = fit(images)
    again = Preprocessing.from_plain(fitted.to_plain(), fitted.tensors())
    assert torch.equal(again.apply(images), fitted.apply(images))
    assert again.to_plain() == fitted.to_plain()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pca"}, "'pca' is not known"),
        ({"mean": [0.5]}, "3 channels"),
        ({"std": [0.1, 0.0, 0.1]}, "above 0"),
        ({"kind": "zca"}, "matrix"),
        ({"image_shape": [3, 6]}, "incomplete"),
    ],
)
def test_broken_stored_values_are_refused(images, change, message):
    plain = {**fit_standard(images).to_plain(), **change}
    with pytest.raises(DataError, match=message):
        Preprocessing.from_plain(plain, {})


def test_a_missing_stored_value_is_named(images):
    plain = fit_standard(images).to_plain()
    del plain["std"]
    with pytest.raises(DataError, match="std"):
        Preprocessing.from_plain(plain, {})


@pytest.mark.parametrize("fit", [fit_standard, fit_zca])
def test_images_of_another_shape_are_refused(images, fit):
    with pytest.raises(ShapeError):
        fit(images).apply(images[:, :1])


def test_gradients_flow_through_the_inverse(images):
    normalised = fit_zca(images).apply(images[:2]).requires_grad_()
    fit_zca(images).invert(normalised).sum().backward()
    assert normalised.grad.abs().min() > 0
