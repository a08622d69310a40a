from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from study.core.config import build
from study.core.errors import ConfigError
from study.methods.coresets import RandomCoresetConfig


def test_images_are_real_and_of_their_class(
    toy_distill: Callable[..., Any], toy_task: Callable[..., Any]
) -> None:
    train = toy_task().train
    _, chosen = toy_distill("random", task=toy_task(ipc=9))
    found = (chosen.images[:, None] == train.images[None]).flatten(2).all(2)
    assert (found.sum(1) == 1).all()
    positions = found.int().argmax(1)
    assert len(positions.unique()) == 27
    assert torch.equal(train.labels[positions], chosen.labels)


@pytest.mark.parametrize("settings", [{"num_iterations": 5}, {"init": "noise"}])
def test_what_would_do_nothing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"distill.{next(iter(settings))}"):
        build(RandomCoresetConfig, settings, "distill")
