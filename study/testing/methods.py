"""What every distillation method promises, as a suite for pytest."""

from __future__ import annotations

import importlib
import json
import math
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from study.core.config import Frozen, build, flatten, set_path
from study.core.digests import set_digest
from study.core.errors import ConfigError
from study.core.records import Progress, SyntheticSet
from study.core.reporting import listening
from study.core.seeding import Generators
from study.core.spaces import Choice
from study.methods.base import Method, MethodConfig, Task, find_method
from study.methods.hooks import BarFigure, Estimate, Preparation
from study.models.pool import ModelConfig
from study.models.work import nominal_seconds
from study.testing.tasks import OwnCache, toy_task


class MethodContract(OwnCache):
    """A suite that a method passes; subclass it in a test file.

    The method has to lie in a module that another process can import. Iterations and sizes are those of
    ``settings``, which should take a moment on 34 images of 8 x 8 pixels in 3 classes::

        from study.testing import MethodContract
        from toy_method import Toy

        class TestToy(MethodContract):
            method = Toy
            settings = {"num_iterations": 4}
    """

    method: type[Method[Any]]
    settings: Mapping[str, Any] = {"num_iterations": 4}
    """Below ``distill``."""
    task: ClassVar[Any] = staticmethod(toy_task)
    """Builds the toy task, ``task(ipc=1)`` one with changed fields."""

    @pytest.fixture
    def digest_elsewhere(self) -> str:
        """Digest of the toy result in another process."""
        return digests_elsewhere([(self.method, self.settings)])[self.method.name]

    def build(self, **settings: Any) -> Method[Any]:
        """The method with its settings for the suite, some of them changed."""
        return self.method(build(self.method.Config, {**self.settings, **settings}, "distill"))

    def distill(
        self, *, seed: int = 0, task: Task | None = None, **settings: Any
    ) -> tuple[list[Progress], SyntheticSet]:
        """All progress of a toy run, and the set after its last iteration."""
        return distill_toy(self.build(**settings), seed=seed, task=task)

    @property
    def optimises(self) -> bool:
        """Whether the method updates images; a coreset only selects them."""
        return self.method.Config().num_iterations > 0

    def test_is_found_by_its_name(self) -> None:
        """The name leads to the class, through the package or an entry point."""
        assert find_method(self.method.name) is self.method
        assert issubclass(self.method.Config, MethodConfig)

    def test_smoke_sizes_are_valid_settings(self) -> None:
        """The settings of the budget ``smoke`` build."""
        assert isinstance(build(self.method.Config, self.method.smoke, "distill"), self.method.Config)

    def test_searched_keys_are_settings_that_may_have_every_searched_value(self) -> None:
        """A key of ``space`` is a field of ``Config`` or of the model, and both ends of it are valid."""
        for key, parameter in self.method.space.items():
            table, _, dotted = key.partition(".")
            tables: dict[str, type[Frozen]] = {"distill": self.method.Config, "model": ModelConfig}
            model = tables[table]
            if dotted == "layer_weights.*":
                assert "layer_weights" in model.model_fields
                continue
            assert dotted in flatten(model().model_dump()), f"{key} is no setting"
            ends = parameter.choices if isinstance(parameter, Choice) else (parameter.low, parameter.high)
            for value in ends:
                build(model, set_path({}, dotted, value), table)

    @pytest.mark.parametrize("ipc", [1, 3])
    def test_keeps_ipc_images_a_class_grouped_by_label(self, ipc: int) -> None:
        """First and last set have ``ipc`` images of each class, of the shape of the real ones."""
        task = self.task(ipc=ipc)
        everything, _ = self.distill(task=task)
        for progress in (everything[0], everything[-1]):
            synthetic = progress.snapshot()
            assert synthetic.labels.tolist() == sorted(list(range(task.train.num_classes)) * ipc)
            assert synthetic.ipc == ipc
            assert tuple(synthetic.images.shape[1:]) == task.train.image_shape
            assert synthetic.class_names == task.train.class_names

    def test_repeats_bit_for_bit_from_a_seed(self) -> None:
        """One seed gives one set."""
        assert set_digest(self.distill(seed=3)[1]) == set_digest(self.distill(seed=3)[1])

    def test_repeats_bit_for_bit_in_another_process(self, digest_elsewhere: str) -> None:
        """Nothing depends on the clock, on hashes or on what ran before."""
        assert set_digest(self.distill()[1]) == digest_elsewhere

    def test_another_seed_gives_another_set(self) -> None:
        """The seed is used."""
        assert set_digest(self.distill(seed=1)[1]) != set_digest(self.distill(seed=2)[1])

    def test_leaves_its_inputs_unchanged(self) -> None:
        """Real images and labels are only read."""
        task, untouched = self.task(), self.task()
        self.distill(task=task)
        assert torch.equal(task.train.images, untouched.train.images)
        assert torch.equal(task.train.labels, untouched.train.labels)
        assert not task.train.images.requires_grad

    def test_leaves_global_generators_alone(self) -> None:
        """All randomness comes from the generators that are passed in."""

        def states() -> list[bytes]:
            torch_state = torch.get_rng_state().numpy().tobytes()
            return [torch_state, pickle.dumps(random.getstate()), pickle.dumps(np.random.get_state())]

        before = states()
        self.distill()
        assert states() == before

    def test_images_and_losses_are_finite(self) -> None:
        """No infinity and no NaN in what is reported, and no graph on the losses."""
        everything, synthetic = self.distill()
        losses = [torch.as_tensor(loss) for one in everything for loss in one.losses.values()]
        assert bool(synthetic.images.isfinite().all())
        assert all(bool(loss.isfinite()) and not loss.requires_grad for loss in losses)

    def test_first_progress_is_the_starting_point(self) -> None:
        """Iteration 0 has no losses, and is all there is without iterations."""
        everything, untouched = self.distill(num_iterations=0)
        assert [progress.iteration for progress in everything] == [0]
        assert dict(everything[0].losses) == {}
        first = next(iter(self.build().distill(self.task(), Generators(0)))).snapshot()
        assert torch.equal(first.images, untouched.images)

    def test_a_snapshot_is_a_copy(self) -> None:
        """Whoever gets a set may write into it."""
        progress = next(iter(self.build().distill(self.task(), Generators(0))))
        progress.snapshot().images.fill_(7.0)
        assert not bool((progress.snapshot().images == 7.0).any())

    def test_an_unknown_setting_is_an_error(self) -> None:
        """A misspelt key is refused by name."""
        with pytest.raises(ConfigError, match=r"distill\.image_learning_rate"):
            build(self.method.Config, {"image_learning_rate": 1.0}, "distill")

    @pytest.mark.parametrize(("ipc", "message"), [(0, "ipc = 0"), (10, "'bar 1' has 9 training images")])
    def test_an_impossible_ipc_is_an_error(self, ipc: int, message: str) -> None:
        """There are as many synthetic images a class as real ones at most, and one at least."""
        with pytest.raises(ConfigError, match=message):
            self.distill(task=self.task(ipc=ipc))

    @pytest.mark.parametrize("num_iterations", [1, 5])
    def test_honours_the_number_of_iterations(self, num_iterations: int) -> None:
        """One progress an iteration with its ``match/loss``; a coreset refuses to iterate."""
        if not self.optimises:
            with pytest.raises(ConfigError, match=r"distill\.num_iterations"):
                self.build(num_iterations=num_iterations)
            return
        everything, _ = self.distill(num_iterations=num_iterations)
        assert [progress.iteration for progress in everything] == list(range(num_iterations + 1))
        assert all("match/loss" in progress.losses for progress in everything[1:])

    def test_moves_every_image_or_selects_real_ones(self) -> None:
        """An update changes each image; a coreset consists of training images."""
        task = self.task()
        _, synthetic = self.distill(task=task)
        if not self.optimises:
            same = (synthetic.images[:, None] == task.train.images[None]).flatten(2).all(2)
            assert bool(same.any(1).all())
            return
        start = self.distill(num_iterations=0)[1]
        moved = synthetic.images - start.images
        assert float(moved.norm() / start.images.norm()) > 1e-3
        assert bool((moved.flatten(1).norm(dim=1) > 0).all())

    def test_lowers_its_own_loss(self) -> None:
        """From noise, 40 iterations lower ``match/loss``; a coreset reports no loss."""
        if not self.optimises:
            assert [dict(progress.losses) for progress in self.distill()[0]] == [{}]
            return
        everything, _ = self.distill(init="noise", num_iterations=40)
        losses = [float(progress.losses["match/loss"]) for progress in everything[1:]]
        assert sum(losses[-8:]) < 0.9 * sum(losses[:8]), losses

    def test_prepares_what_it_estimated(self) -> None:
        """Preparing is told as it goes and leaves nothing to do; estimating and rehearsing prepare nothing."""
        method, task, seed = self.build(), self.task(), 4711
        before = method.estimate(task, Generators(seed))
        rehearsed = [progress.iteration for progress in method.rehearse(task, Generators(seed))]
        assert rehearsed == list(range(method.config.num_iterations + 1))
        assert method.estimate(task, Generators(seed)).summary == before.summary
        told: dict[str, list[tuple[float, int]]] = {}
        with listening(lambda what, done, total: told.setdefault(what, []).append((done, total))):
            done = method.prepare(task, Generators(seed))
        if before == Estimate():
            assert (done, told) == (Preparation(), {})
            assert not self.method.preparation_settings
        else:
            assert before.seconds > 0
            assert before.num_bytes >= 0
            for steps in told.values():
                assert steps == sorted(steps)
                assert steps[-1][0] == steps[-1][1] > 0
            assert told
            assert all(math.isfinite(value) for value in done.metrics.values())
            json.dumps([dict(done.facts), dict(before.facts), dict(done.tags)])
            assert set(self.method.preparation_settings) <= set(self.method.Config.model_fields)
            assert method.estimate(task, Generators(seed)).seconds == 0

    def test_counts_the_work_of_an_iteration(self) -> None:
        """More images a class are more work; there is none where there is nothing to iterate."""
        task = self.task()
        method, size = self.build(), task.size
        seconds = [nominal_seconds(method.iteration_loads(replace(size, ipc=ipc))) for ipc in (1, 10)]
        assert seconds == sorted(seconds)
        assert (seconds[0] > 0) == self.optimises
        prepared = nominal_seconds(method.preparation_loads(size))
        assert (prepared > 0) >= bool(self.method.preparation_settings)

    def test_layer_weights_are_none_or_have_mean_one(self) -> None:
        """Weights are at least 0, and searchable only where there are some."""
        task = self.task()
        weights = self.build().layer_weights(task.model, task.train.image_shape)
        assert all(weight >= 0 for weight in weights.values())
        assert sum(weights.values()) == pytest.approx(len(weights))
        assert bool(weights) == ("layer_weights" in self.method.Config.model_fields)

    def test_figures_are_plain_numbers(self) -> None:
        """Finite bars, or one score for each training image."""
        task = self.task()
        figures = self.build().figures(task, Generators(0))
        assert len({figure.name for figure in figures}) == len(figures)
        for figure in figures:
            if isinstance(figure, BarFigure):
                assert figure.values
                assert all(math.isfinite(value) for value in figure.values.values())
            else:
                assert tuple(figure.scores.shape) == (len(task.train),)
                assert bool(figure.scores.isfinite().all())


def distill_toy(
    method: Method[Any], *, seed: int = 0, task: Task | None = None
) -> tuple[list[Progress], SyntheticSet]:
    """All progress of a run on the toy task, and the set after its last iteration."""
    everything = list(method.distill(task or toy_task(), Generators(seed)))
    return everything, everything[-1].snapshot()


def digests_elsewhere(cases: Sequence[tuple[type[Method[Any]], Mapping[str, Any]]]) -> dict[str, str]:
    """Digests of toy results of methods under settings, by name, computed by one fresh process."""
    wanted = [(method.__module__, method.name, dict(settings)) for method, settings in cases]
    done = subprocess.run(
        [sys.executable, "-c", "from study.testing.methods import _answer; _answer()"],
        input=json.dumps([torch.get_num_threads(), wanted]), capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


def _answer() -> None:
    """What the other process runs."""
    num_threads, wanted = json.load(sys.stdin)
    torch.set_num_threads(num_threads)
    digests = {}
    for module, name, settings in wanted:
        importlib.import_module(module)
        method = find_method(name)
        digests[name] = set_digest(distill_toy(method(build(method.Config, settings)))[1])
    sys.stdout.write(json.dumps(digests))
