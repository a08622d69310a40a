from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
import torch
from torch.nn import functional

from study.core.config import build
from study.core.device import Compute
from study.core.errors import ConfigError, DataError, DivergedError, ShapeError
from study.core.reporting import listening
from study.core.seeding import Generators
from study.data.augment import augment, draw
from study.methods.experts.config import ExpertConfig, WholeSet
from study.methods.experts.experts import estimate_experts, obtain_experts
from study.methods.experts.training import ExpertDivergedError, balanced
from study.models.flat_params import flatten_parameters, forward_flat, unflatten_parameters
from study.models.pool import ModelConfig, build_model

QUICK = {"num_experts": 2, "num_epochs": 3, "lr": 0.05, "batch_size": 16}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "experts"


def config(**changes):
    return build(ExpertConfig, QUICK | changes)


def obtain(task, *, seed=0, order=None, report=None, num_workers=1, last=None, **changes):
    with listening(report or (lambda what, done, total: None)):
        return obtain_experts(
            task, config(**changes), order or WholeSet(), Generators(seed), last=last, num_workers=num_workers
        )


def trajectories(experts):
    return torch.stack(
        [
            torch.stack([experts.snapshot(expert, epoch) for epoch in range(experts.num_epochs + 1)])
            for expert in range(experts.num_experts)
        ]
    )


@dataclass(frozen=True)
class ListedOrder:
    """Positions written down epoch by epoch."""

    epochs: tuple[tuple[int, ...], ...]

    def indices(self, epoch):
        return torch.tensor(self.epochs[epoch])

    def key(self):
        return {"epochs": [list(positions) for positions in self.epochs]}


def replay(task, settings, order, seed, expert):
    """One trajectory by modules and torch's own optimiser, whole batches at a time."""
    family = Generators(Generators(seed).child("expert", expert).seed)
    network = build_model(task.model, task.train.image_shape, task.train.num_classes, family["init"])
    optimizer = torch.optim.SGD(network.parameters(), lr=settings.lr, momentum=settings.momentum)
    snapshots, seen = [flatten_parameters(network)], []
    for epoch in range(settings.num_epochs):
        numbers = family.child("epoch", epoch)
        allowed = order.indices(epoch)
        shuffled = allowed[torch.randperm(len(allowed), generator=numbers["batches"])]
        shuffled = shuffled[: math.ceil(settings.epoch_fraction * len(allowed))]
        seen.append(shuffled.tolist())
        for batch in shuffled.split(settings.batch_size):
            record = draw(
                task.augmentation, len(batch), task.train.image_shape, numbers["augmentation"], shared_op=True
            )
            loss = functional.cross_entropy(
                network(augment(task.train.images[batch], record)), task.train.labels[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        snapshots.append(flatten_parameters(network))
    return torch.stack(snapshots), seen


def test_snapshots_start_at_the_initialisation_and_differ_pairwise(toy_task):
    task = toy_task()
    experts = obtain(task)
    for expert in range(2):
        init = Generators(Generators(0).child("expert", expert).seed)["init"]
        network = build_model(task.model, task.train.image_shape, task.train.num_classes, init)
        assert torch.equal(experts.snapshot(expert, 0), flatten_parameters(network))
    everything = trajectories(experts).flatten(0, 1)
    assert everything.shape == (2 * 4, experts.num_parameters)
    for one, other in combinations(range(len(everything)), 2):
        assert (everything[one] - everything[other]).abs().max() > 1e-4, (one, other)
    assert torch.equal(experts.final(1), experts.snapshot(1, 3))


def test_a_snapshot_is_the_callers_own(toy_task):
    experts = obtain(toy_task())
    first = experts.snapshot(0, 1)
    kept = first.clone()
    first.zero_()
    assert torch.equal(experts.snapshot(0, 1), kept)


def test_a_trajectory_is_plain_training_on_the_images_of_the_order(toy_task, toy_dataset):
    # 17 images a class: a start with 12 of them, then all, then without some.
    task = toy_task(train=toy_dataset((17, 17, 17)))
    by_class = [positions.tolist() for positions in task.train.class_indices()]
    order = ListedOrder(
        tuple(tuple(p for own in by_class for p in own[cut]) for cut in (slice(12), slice(17), slice(1, 17)))
    )
    settings = config(momentum=0.5)
    experts = obtain(task, order=order, momentum=0.5)
    for expert in range(2):
        expected, seen = replay(task, settings, order, 0, expert)
        assert [len(epoch) for epoch in seen] == [36, 51, 48]
        assert [sorted(epoch) for epoch in seen] == [sorted(epoch) for epoch in order.epochs]
        torch.testing.assert_close(trajectories(experts)[expert], expected, rtol=1e-4, atol=1e-5)
    # The order matters at all: without it the trajectories are others.
    assert (trajectories(experts) - trajectories(obtain(task, momentum=0.5))).abs().max() > 1e-3


def test_an_order_of_a_subset_is_training_on_that_subset(toy_task):
    task = toy_task()
    chosen = tuple(range(0, len(task.train), 2))
    through_order = obtain(task, order=ListedOrder((chosen,) * 3))
    directly = obtain(replace(task, train=task.train.subset(torch.tensor(chosen))))
    assert through_order.key != directly.key
    assert torch.equal(trajectories(through_order), trajectories(directly))


def test_a_fraction_of_an_epoch_is_drawn_anew_each_time(toy_task):
    task = toy_task()
    everything = ListedOrder((tuple(range(len(task.train))),) * 3)
    expected, seen = replay(task, config(epoch_fraction=0.4), everything, 0, 0)
    assert [len(epoch) for epoch in seen] == [14, 14, 14]
    assert len({frozenset(epoch) for epoch in seen}) == 3
    taken = trajectories(obtain(task, epoch_fraction=0.4))[0]
    torch.testing.assert_close(taken, expected, rtol=1e-4, atol=1e-5)


def test_balanced_epochs_see_each_class_as_often_and_small_ones_again():
    labels = torch.tensor([0, 0, 1, 0, 0, 0, 1, 0, 2, 2, 2])
    positions = torch.tensor([7, 2, 0, 8, 5, 6, 1, 3, 9])
    order = balanced(positions, labels, 9)
    assert order.tolist() == [7, 2, 8, 0, 6, 9, 5, 2, 8]
    assert labels[order].bincount().tolist() == [3, 3, 3]
    assert balanced(positions, labels, 4).tolist() == [7, 2, 8, 0]


def test_only_experts_of_unbalanced_data_are_balanced(toy_task):
    def with_counts(*counts):
        members = toy_task().train.class_indices()
        chosen = torch.cat([some[:count] for some, count in zip(members, counts, strict=True)])
        return replace(toy_task(), train=toy_task().train.subset(chosen))

    even, task = with_counts(6, 6, 6), with_counts(2, 9, 9)
    assert not even.train.is_unbalanced
    assert torch.equal(trajectories(obtain(even, balance=True)), trajectories(obtain(even)))
    assert task.train.is_unbalanced
    # What an expert that only knows the large classes says of the small one shows who saw it more often.
    plain, level = (obtain(task, num_epochs=8, lr=0.1, balance=balance) for balance in (False, True))
    assert plain.key != level.key

    def of_small(experts):
        network = task.network()
        flat = torch.stack([experts.final(index) for index in range(experts.num_experts)])
        images = task.train.images[task.train.labels == 0]
        return torch.stack(
            [forward_flat(network, one, images).softmax(1)[:, 0].mean() for one in flat]
        ).mean()

    assert of_small(level) > of_small(plain)


@pytest.mark.parametrize(
    "switch", [{"optimizer": "gsam"}, {"augment": False}, {"momentum": 0.9}, {"weight_decay": 0.1}]
)
def test_settings_change_the_trajectory_but_not_its_start(toy_task, switch):
    plain, changed = trajectories(obtain(toy_task())), trajectories(obtain(toy_task(), **switch))
    assert torch.equal(plain[:, 0], changed[:, 0])
    assert (plain[:, -1] - changed[:, -1]).abs().max() > 1e-5


def test_gsam_experts_take_the_step_of_its_definition(toy_task):
    """One step on one batch, with gradients in float64 from the module itself."""
    task = toy_task()
    one_step = {"num_epochs": 1, "num_experts": 1, "batch_size": 64, "augment": False}
    experts = obtain(task, optimizer="gsam", gsam_rho=0.2, gsam_alpha=0.4, **one_step)
    network = build_model(
        task.model, task.train.image_shape, task.train.num_classes, torch.Generator()
    ).double()

    def gradient(theta):
        leaf = theta.clone().requires_grad_()
        logits = torch.func.functional_call(
            network, unflatten_parameters(leaf, network), (task.train.images.double(),)
        )
        return torch.autograd.grad(functional.cross_entropy(logits, task.train.labels), leaf)[0]

    start = experts.snapshot(0, 0).double()
    g = gradient(start)
    ascent = 0.2 * start.square() * g / (start.abs() * g).norm()
    perturbed = gradient(start + ascent)
    unit = perturbed / perturbed.norm()
    update = perturbed - 0.4 * (g - (g @ unit) * unit)
    taken = (start - experts.snapshot(0, 1).double()) / 0.05
    assert float((taken - update).norm() / update.norm()) < 1e-4
    assert float((taken - g).norm() / g.norm()) > 1e-2


def test_a_warm_cache_builds_nothing_and_gives_the_same(toy_task):
    cold, calls = obtain(toy_task()), []
    warm = obtain(toy_task(), report=lambda *told: calls.append(told))
    assert (cold.num_built, warm.num_built, calls) == (2, 0, [])
    assert torch.equal(trajectories(cold), trajectories(warm))
    assert warm.train_accuracies == cold.train_accuracies
    assert warm.build_seconds < cold.build_seconds


def test_more_experts_extend_those_already_there_to_the_bit(toy_task, cache, tmp_path, monkeypatch):
    few, more = obtain(toy_task(), num_experts=2), obtain(toy_task(), num_experts=4)
    assert (few.key, few.num_built, more.num_built) == (more.key, 2, 2)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "other"))
    at_once = obtain(toy_task(), num_experts=4, num_workers=2)
    assert at_once.num_built == 4
    assert torch.equal(trajectories(more), trajectories(at_once))
    fewer = obtain(toy_task(), num_experts=1)
    assert (fewer.num_built, fewer.num_experts) == (0, 1)


def test_only_snapshots_that_are_asked_for_are_kept(toy_task, cache):
    few = obtain(toy_task(), num_epochs=9, last=2)
    size = sum(path.stat().st_size for path in cache.glob("*/*.safetensors"))
    every = obtain(toy_task(), num_epochs=9, seed=1)
    assert size < 0.45 * sum(path.stat().st_size for path in (cache / every.key).glob("*.safetensors"))
    assert (few.num_epochs, few.kept.last) == (9, 2)
    for epoch in (0, 2, 9):
        assert few.snapshot(1, epoch).isfinite().all()
    assert torch.equal(few.final(1), few.snapshot(1, 9))
    for epoch in (3, 8, 10):
        with pytest.raises(ShapeError, match="experts 0 to 1 and epochs 0 to 2 and 9"):
            few.snapshot(0, epoch)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["sgd", "gsam"])
def test_who_asks_for_more_follows_the_experts_further_and_who_asks_for_less_is_served(
    toy_task, tmp_path, monkeypatch, momentum, optimizer
):
    changes = {"num_epochs": 7, "momentum": momentum, "optimizer": optimizer}
    calls = []
    few = obtain(toy_task(), last=2, **changes)
    more = obtain(toy_task(), last=4, report=lambda what, *numbers: calls.append(numbers), **changes)
    assert (few.key, few.num_built, more.num_built, more.kept.last) == (more.key, 2, 2, 4)
    # Momentum is not stored, so such experts start again; nobody trains up to the end a second time.
    assert calls[-1] == ((8, 8) if momentum else (4, 4))
    assert few.snapshot(0, 2).equal(more.snapshot(0, 2)), "a file that is replaced can still be read"
    every = obtain(toy_task(), **changes)
    assert (every.num_built, every.kept.last) == (2, 7)
    assert obtain(toy_task(), last=1, **changes).num_built == 0
    assert every.train_accuracies == few.train_accuracies
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "other"))
    at_once = obtain(toy_task(), **changes)
    assert at_once.num_built == 2
    assert torch.equal(trajectories(every), trajectories(at_once))


def test_an_estimate_counts_the_epochs_between_what_is_there_and_what_is_asked(toy_task):
    obtain(toy_task(), num_epochs=9, last=2)

    def estimate(last):
        return estimate_experts(toy_task(), config(num_epochs=9), WholeSet().key(), Generators(0), 18.0, last)

    assert estimate(2).facts["to_build"] == 0
    more = estimate(5)
    assert (more.facts["to_build"], more.facts["kept_epochs"], more.facts["epochs"]) == (2, 5, 9)
    assert more.seconds == pytest.approx(6.0)
    assert more.num_bytes == 2 * 7 * 4 * obtain(toy_task(), num_epochs=9, last=2).num_parameters


def test_the_number_of_threads_outside_is_left_as_it_was(toy_task):
    before = torch.get_num_threads()
    obtain(toy_task())
    assert torch.get_num_threads() == before


def test_the_same_seed_gives_the_same_bytes_in_another_process(toy_task, tmp_path):
    script = f"""
        import hashlib, json
        from study.testing.tasks import toy_task
        from study.core.config import build
        from study.core.seeding import Generators
        from study.methods.experts.config import ExpertConfig, WholeSet
        from study.methods.experts.experts import obtain_experts
        e = obtain_experts(toy_task(), build(ExpertConfig, {QUICK!r}), WholeSet(), Generators(0), num_workers=1)
        digests = [hashlib.sha256(e.final(i).numpy().tobytes()).hexdigest() for i in range(e.num_experts)]
        print(json.dumps([e.key, digests]))
    """
    environment = {**os.environ, "STUDY_CACHE": str(tmp_path / "second")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    experts = obtain(toy_task())
    ours = [hashlib.sha256(experts.final(i).numpy().tobytes()).hexdigest() for i in range(2)]
    assert json.loads(done.stdout) == [experts.key, ours]


def test_everything_that_decides_a_trajectory_is_in_the_key(toy_task, toy_dataset):
    def key(task, seed=0, order=None, **changes):
        order = order or WholeSet()
        return estimate_experts(task, config(**changes), order.key(), Generators(seed), 1.0).facts["key"]

    task = toy_task()
    other_pixels = replace(task.train, images=task.train.images + 0.01)
    other_labels = replace(task.train, labels=task.train.labels.roll(1))
    plain = key(task)
    keys = [
        plain,
        key(task, seed=1),
        key(task, order=ListedOrder(((0, 1),) * 3)),
        key(replace(task, train=other_pixels)),
        key(replace(task, train=other_labels)),
        key(replace(task, model=ModelConfig(depth=2, width=16))),
        key(replace(task, augmentation=task.augmentation.model_copy(update={"strategy": "flip"}))),
        key(replace(task, compute=Compute(torch.device("cpu"), torch.bfloat16))),
        key(task, num_epochs=4),
        key(task, lr=0.1),
        key(task, optimizer="gsam"),
        key(task, optimizer="gsam", gsam_rho=0.1),
        key(task, epoch_fraction=0.5),
        key(task, balance=True),
    ]
    assert len(set(keys)) == len(keys)
    assert key(task, num_experts=7) == plain
    assert key(task, gsam_rho=0.5) == plain
    assert key(replace(task, ipc=5)) == plain
    assert (
        key(replace(task, compute=Compute(torch.device("cpu"), torch.bfloat16)), precision="float32") == plain
    )


def test_an_estimate_counts_what_is_missing_and_writes_nothing(toy_task, cache):
    def estimate(number):
        settings = config(num_experts=number)
        return estimate_experts(toy_task(), settings, WholeSet().key(), Generators(0), 6.0)

    before = estimate(3)
    assert not cache.exists()
    assert before.summary == "3 experts of 3 epochs, 3 of them to train"
    assert before.seconds == 6.0
    experts = obtain(toy_task(), num_experts=2)
    after = estimate(3)
    assert (after.facts["key"], after.facts["to_build"], after.seconds) == (experts.key, 1, 2.0)
    stored = sum(path.stat().st_size for path in (cache / experts.key).glob("*.safetensors"))
    assert after.num_bytes * 2 / 3 == pytest.approx(stored, rel=0.05)
    warm = estimate(2)
    assert (warm.facts["to_build"], warm.seconds) == (0, 0.0)


def test_progress_counts_epochs_up_to_the_total(toy_task):
    calls = []
    obtain(toy_task(), report=lambda *told: calls.append(told))
    assert {(what, total) for what, _, total in calls} == {("training experts", 6)}
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert (calls[0][1], calls[-1][1]) == (0, 6)


def test_an_interrupted_build_keeps_what_was_finished(toy_task, cache):
    def interrupt(what, done, total):
        if done >= 3:  # the first expert has all its epochs
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain(toy_task(), num_experts=40, report=interrupt)
    kept = len(list(cache.glob("*/expert-*.safetensors")))
    assert 1 <= kept < 40
    assert obtain(toy_task(), num_experts=kept + 1).num_built == 1


def test_bfloat16_experts_end_where_float32_ones_do(toy_task, toy_dataset):
    """The accuracy check of reduced precision: the same way through parameter space, and as good at the end."""
    task = toy_task(train=toy_dataset((60, 60, 60)))
    quick = {"num_epochs": 4, "lr": 0.02, "momentum": 0.9}
    plain = obtain(task, **quick)
    reduced = obtain(replace(task, compute=Compute(torch.device("cpu"), torch.bfloat16)), **quick)
    assert reduced.num_built == 2
    assert reduced.snapshot(0, 1).dtype is torch.float32
    one, other = trajectories(plain), trajectories(reduced)
    assert not torch.equal(one, other)
    for expert in range(2):
        moved = [path[expert, -1] - path[expert, 0] for path in (one, other)]
        assert float(functional.cosine_similarity(moved[0], moved[1], dim=0)) > 0.99
        assert abs(plain.train_accuracies[expert] - reduced.train_accuracies[expert]) <= 0.02
        assert plain.train_accuracies[expert] > 0.9


def test_batch_norm_is_refused(toy_task):
    task = toy_task(model=ModelConfig(depth=2, width=8, norm="batch"))
    with pytest.raises(ConfigError, match="running statistics"):
        obtain(task)


def test_divergence_names_expert_and_epoch_and_stores_nothing(toy_task, cache):
    with pytest.raises(
        ExpertDivergedError, match=r"expert 0 diverged in epoch \d; lower the experts' learning rate"
    ) as caught:
        obtain(toy_task(), lr=1e30, num_experts=1)
    assert isinstance(caught.value, DivergedError)
    assert not list(cache.glob("*/*.safetensors"))


@pytest.mark.parametrize(
    ("epochs", "message"), [(((),) * 3, "expected \\[k\\]"), (((0, 99),) * 3, "99"), (((-1, 3),) * 3, "-1")]
)
def test_an_order_that_does_not_fit_is_refused(toy_task, epochs, message):
    with pytest.raises(ShapeError, match=message):
        obtain(toy_task(), order=ListedOrder(epochs))


@pytest.mark.parametrize(("expert", "epoch"), [(2, 0), (-1, 0), (0, 4), (0, -1)])
def test_an_expert_or_epoch_that_is_not_there_is_refused(toy_task, expert, epoch):
    with pytest.raises(ShapeError, match="experts 0 to 1 and epochs 0 to 3"):
        obtain(toy_task()).snapshot(expert, epoch)


def test_a_disk_that_is_too_small_is_refused_before_training(toy_task, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    calls = []
    with pytest.raises(DataError, match="set STUDY_CACHE"):
        obtain(toy_task(), report=lambda *told: calls.append(told))
    assert calls == []


def test_a_cache_that_cannot_be_written_is_one_clear_error(toy_task, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set STUDY_CACHE to another folder"):
        obtain(toy_task())


@pytest.mark.parametrize(
    "fault", [{"num_experts": 0}, {"num_epochs": 0}, {"lr": 0}, {"momentum": 1.0}, {"batch_size": 0},
              {"optimizer": "adam"}, {"epoch_fraction": 0}, {"epoch_fraction": 1.5}, {"gsam_rho": 0}, {"unknown": 1}]
)  # fmt: skip
def test_settings_out_of_range_are_refused(fault):
    with pytest.raises(ConfigError, match=next(iter(fault))):
        build(ExpertConfig, fault, "distill.experts")
