"""What every registered method promises. A new method enters by being registered; nothing is listed here.

Where its defaults are too slow for the toy task, it gets a line in ``TINY`` in ``conftest.py``.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.core.config import build
from study.core.errors import ConfigError
from study.core.seeding import Generators
from study.methods.base import Method, MethodConfig, load_methods

Factory = Callable[..., Any]

NAMES = sorted(load_methods())
OPTIMISING = [name for name in NAMES if load_methods()[name].Config().num_iterations > 0]


@pytest.fixture(scope="module")
def digests_elsewhere() -> dict[str, str]:
    """Digests of every method's toy result, computed by another process."""
    conftest = Path(__file__).with_name("conftest.py")
    code = (
        f"import runpy; runpy.run_path({str(conftest)!r})"
        f"['print_digests']({NAMES!r}, {torch.get_num_threads()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


def test_some_methods_optimise_and_some_choose() -> None:
    assert {"dm", "random"} <= set(NAMES)
    assert OPTIMISING
    assert len(OPTIMISING) < len(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestEveryMethod:
    def test_is_registered_under_its_own_name(self, name: str) -> None:
        method: type[Method] = load_methods()[name]
        assert method.name == name
        assert issubclass(method.Config, MethodConfig)

    @pytest.mark.parametrize("ipc", [1, 3])
    def test_keeps_ipc_images_a_class_grouped_by_label(
        self, name: str, ipc: int, toy_distill: Factory, toy_task: Factory
    ) -> None:
        task = toy_task(ipc=ipc)
        everything, _ = toy_distill(name, task=task)
        for progress in (everything[0], everything[-1]):
            synthetic = progress.snapshot()
            assert synthetic.labels.tolist() == sorted(list(range(task.train.num_classes)) * ipc)
            assert synthetic.ipc == ipc
            assert tuple(synthetic.images.shape[1:]) == task.train.image_shape
            assert synthetic.class_names == task.train.class_names

    def test_repeats_bit_for_bit_from_a_seed(self, name: str, toy_distill: Factory, digest: Factory) -> None:
        assert digest(toy_distill(name, seed=3)[1]) == digest(toy_distill(name, seed=3)[1])

    def test_repeats_bit_for_bit_in_another_process(
        self, name: str, toy_distill: Factory, digest: Factory, digests_elsewhere: dict[str, str]
    ) -> None:
        assert digest(toy_distill(name)[1]) == digests_elsewhere[name]

    def test_another_seed_gives_another_set(self, name: str, toy_distill: Factory, digest: Factory) -> None:
        assert digest(toy_distill(name, seed=1)[1]) != digest(toy_distill(name, seed=2)[1])

    def test_leaves_its_inputs_unchanged(self, name: str, toy_distill: Factory, toy_task: Factory) -> None:
        task, untouched = toy_task(), toy_task()
        toy_distill(name, task=task)
        assert torch.equal(task.train.images, untouched.train.images)
        assert torch.equal(task.train.labels, untouched.train.labels)
        assert not task.train.images.requires_grad

    def test_leaves_global_generators_alone(self, name: str, toy_distill: Factory) -> None:
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()
        toy_distill(name)
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1] == random.getstate()
        assert np.array_equal(before[2][1], np.random.get_state()[1])
        assert before[2][2] == np.random.get_state()[2]

    def test_images_and_losses_are_finite(self, name: str, toy_distill: Factory) -> None:
        everything, synthetic = toy_distill(name)
        assert synthetic.images.isfinite().all()
        assert all(torch.as_tensor(loss).isfinite() for one in everything for loss in one.losses.values())

    def test_first_progress_is_the_starting_point(
        self, name: str, toy_distill: Factory, toy_task: Factory, toy_method: Factory
    ) -> None:
        settings = {"num_iterations": 0}
        everything, untouched = toy_distill(name, **settings)
        assert [progress.iteration for progress in everything] == [0]
        assert dict(everything[0].losses) == {}
        first = next(iter(toy_method(name).distill(toy_task(), Generators(0)))).snapshot()
        assert torch.equal(first.images, untouched.images)

    def test_a_snapshot_is_a_copy(self, name: str, toy_task: Factory, toy_method: Factory) -> None:
        progress = next(iter(toy_method(name).distill(toy_task(), Generators(0))))
        progress.snapshot().images.fill_(7.0)
        assert not (progress.snapshot().images == 7.0).any()

    def test_an_unknown_setting_is_an_error(self, name: str) -> None:
        with pytest.raises(ConfigError, match=r"distill\.image_learning_rate"):
            build(load_methods()[name].Config, {"image_learning_rate": 1.0}, "distill")

    @pytest.mark.parametrize(("ipc", "message"), [(0, "ipc = 0"), (10, "'bar 1' has 9 training images")])
    def test_an_impossible_ipc_is_an_error(
        self, name: str, ipc: int, message: str, toy_distill: Factory, toy_task: Factory
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            toy_distill(name, task=toy_task(ipc=ipc))


@pytest.mark.parametrize("name", OPTIMISING)
class TestEveryOptimisingMethod:
    @pytest.mark.parametrize("num_iterations", [1, 5])
    def test_honours_the_number_of_iterations(
        self, name: str, num_iterations: int, toy_distill: Factory
    ) -> None:
        everything, _ = toy_distill(name, num_iterations=num_iterations)
        assert [progress.iteration for progress in everything] == list(range(num_iterations + 1))
        assert all("match/loss" in progress.losses for progress in everything[1:])
        assert not any(torch.as_tensor(x).requires_grad for one in everything for x in one.losses.values())

    def test_moves_the_images(self, name: str, toy_distill: Factory) -> None:
        start = toy_distill(name, num_iterations=0)[1].images
        moved = toy_distill(name)[1].images
        assert float((moved - start).norm() / start.norm()) > 1e-3
        assert ((moved - start).flatten(1).norm(dim=1) > 0).all()

    def test_lowers_its_own_loss(self, name: str, toy_distill: Factory) -> None:
        everything, _ = toy_distill(name, init="noise", num_iterations=40)
        losses = [float(progress.losses["match/loss"]) for progress in everything[1:]]
        assert sum(losses[-8:]) < 0.9 * sum(losses[:8]), losses
