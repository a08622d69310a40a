"""Distances between rows of a feature matrix, and the counts a choice may ask for."""

from __future__ import annotations

from torch import Tensor

from study.core.errors import ConfigError

__all__ = ["check_count", "checked_rows", "squared_distances"]


def checked_rows(features: Tensor, count: int) -> Tensor:
    """Features in float64 on the CPU, where that many of their rows can be chosen."""
    check_count(len(features), count)
    return features.detach().cpu().double()


def check_count(num_images: int, count: int) -> None:
    """Refuse to choose none, or more than there are."""
    if not 1 <= count <= num_images:
        raise ConfigError(f"cannot choose {count} of {num_images} images")


def squared_distances(rows: Tensor, point: Tensor) -> Tensor:
    """Squared distances [n]; differences are squared as they are, so that equal rows tie exactly."""
    return (rows - point).square_().sum(1)
