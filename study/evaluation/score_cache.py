"""Scores in the user's cache: what networks learn from real images is the same beside every set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from study.core.records import Score
from study.data.cache import cached, find_cached

_CHECK = "sha256"


def cached_score(name: str, key: Mapping[str, Any], train: Callable[[], Score]) -> Score:
    """The score under a key of plain values, from the cache, or trained now where it is missing or damaged.

    ``name`` is the readable start of the file name; the score's ``seconds`` are those of its training.

    Raises:
        DataError: the cache folder cannot be written.
    """
    tensors, _ = cached(name, key, lambda: _to_tensors(train()), _is_whole)
    return _restore(tensors)


def find_score(name: str, key: Mapping[str, Any]) -> Score | None:
    """The score under a key where it is kept; nothing is trained or written."""
    tensors = find_cached(name, key, _is_whole)
    return None if tensors is None else _restore(tensors)


def _to_tensors(score: Score) -> dict[str, Tensor]:
    columns = {f"headline.{score.metric}": score.values}
    columns.update({f"extra.{name}": values for name, values in score.extra.items()})
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
    tensors["seconds"] = torch.tensor([score.seconds], dtype=torch.float64)
    return {**tensors, _CHECK: _digest(tensors)}


def _restore(tensors: Mapping[str, Tensor]) -> Score:
    columns = {name: tuple(values.tolist()) for name, values in tensors.items() if name != _CHECK}
    metric = next(name.removeprefix("headline.") for name in columns if name.startswith("headline."))
    extra = {
        name.removeprefix("extra."): values for name, values in columns.items() if name.startswith("extra.")
    }
    return Score(metric, columns[f"headline.{metric}"], extra, columns["seconds"][0])


def _digest(tensors: Mapping[str, Tensor]) -> Tensor:
    """[32] uint8: SHA-256 of names and values; the file format itself notices no flipped bit."""
    content = hashlib.sha256()
    for name in sorted(set(tensors) - {_CHECK}):
        content.update(name.encode())
        content.update(tensors[name].numpy().tobytes())
    return torch.tensor(list(content.digest()), dtype=torch.uint8)


def _is_whole(tensors: Mapping[str, Tensor]) -> bool:
    return _CHECK in tensors and torch.equal(tensors[_CHECK], _digest(tensors))
