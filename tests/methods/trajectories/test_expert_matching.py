"""MTT, DATM and PAD: what each adds to the student loop, and how they reduce to each other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from study.core.config import build
from study.core.errors import ConfigError, DivergedError
from study.core.records import SyntheticSet
from study.core.seeding import Generators
from study.core.spaces import Choice, Range
from study.methods.base import Method
from study.methods.datm import DATMConfig, FlatExpertConfig
from study.methods.experts.experts import Experts
from study.methods.pad import PADConfig
from study.methods.trajectories import expert_start
from study.methods.trajectories.adjoint import StudentGradients
from study.methods.trajectories.config import TrajectoryConfig
from study.methods.trajectories.expert_matching import ExpertMatching
from study.methods.trajectories.expert_start import average_correct, first_correct
from study.methods.trajectories.learned_set import MIN_STEP_SIZE, LearnedSet, Start
from study.methods.trajectories.step_size import STEP_SIZES, nearest_step_size
from study.models.flat_params import flatten_parameters, forward_flat
from study.models.network import Network
from study.models.pool import build_model
from study.models.work import work_of

Factory = Callable[..., Any]

FAMILY = ["mtt", "datm", "pad"]
EXPERTS = {"num_experts": 2, "batch_size": 8, "lr": 0.05}
WHOLE = {"schedule": {"initial_fraction": 1.0, "removals": []}, "discard_fraction": 0.0}
PINNED = {
    "mtt": [0.82148, 0.78354, 0.74566, 0.80759],
    "datm": [0.88578, 0.84688, 0.82271, 0.82723],
    "pad": [0.87294, 0.82749, 0.78539, 0.77103],
}


def final_of(method: Method, task: Any, seed: int = 0) -> tuple[SyntheticSet, list[dict[str, float]]]:
    everything = list(method.distill(task, Generators(seed)))
    losses = [{name: float(loss) for name, loss in one.losses.items()} for one in everything[1:]]
    return everything[-1].snapshot(), losses


def same(first: SyntheticSet, second: SyntheticSet) -> bool:
    logits = [one.logits for one in (first, second)]
    alike = torch.equal(logits[0], logits[1]) if logits[0] is not None and logits[1] is not None else True
    return alike and torch.equal(first.images, second.images) and first.step_size == second.step_size


def test_published_values_are_the_defaults() -> None:
    mtt, datm, pad = TrajectoryConfig(), DATMConfig(), PADConfig()
    assert (mtt.image_lr, mtt.step_size_lr, mtt.num_student_steps) == (1000, 1e-5, 20)
    assert (mtt.num_expert_epochs, mtt.max_start_epoch, mtt.momentum) == (3, 25, 0.5)
    assert (datm.image_lr, datm.label_lr, datm.num_student_steps, datm.num_expert_epochs) == (100, 2, 80, 2)
    assert (datm.threshold, datm.label_momentum, datm.max_start_epoch) == (1, 0.9, 20)
    assert (datm.experts.optimizer, datm.experts.num_epochs) == ("gsam", 100)
    assert (pad.schedule.initial_fraction, pad.schedule.addition_end_epoch) == (0.75, 20)
    assert (pad.discard_fraction, pad.drop) == (0.25, "shallow")
    # One changed value must not bring MTT's experts back.
    changed = build(DATMConfig, {"experts": {"num_experts": 3}})
    assert changed.experts == FlatExpertConfig(num_experts=3)


def test_pad_with_everything_off_is_datm_to_the_bit(toy_task: Factory, toy_method: Factory) -> None:
    datm, datm_losses = final_of(toy_method("datm"), toy_task())
    pad, pad_losses = final_of(toy_method("pad", **WHOLE), toy_task())
    assert same(datm, pad)
    assert datm_losses == pad_losses


@pytest.mark.parametrize("part", ["schedule", "discard_fraction"])
def test_each_part_of_pad_changes_the_result(part: str, toy_task: Factory, toy_method: Factory) -> None:
    kept = {name: value for name, value in WHOLE.items() if name != part}
    datm, _ = final_of(toy_method("datm"), toy_task())
    assert not same(datm, final_of(toy_method("pad", **kept), toy_task())[0])


def test_pad_without_a_schedule_shares_experts_with_datm_and_mtt(
    toy_task: Factory, toy_method: Factory
) -> None:
    experts = {"experts": {"num_experts": 2, "num_epochs": 3, "batch_size": 8, "optimizer": "sgd"}}
    keys = set()
    for name, settings in (("mtt", {}), ("datm", {}), ("pad", WHOLE)):
        method = toy_method(name, **experts, **settings, max_start_epoch=3)
        keys.add(method.prepare(toy_task(), Generators(0)).tags["study.experts"])
    assert len(keys) == 1


def test_snapshots_that_no_student_of_the_search_reaches_are_not_kept(
    toy_task: Factory, toy_method: Factory
) -> None:
    plain = toy_method("datm", experts={**EXPERTS, "num_epochs": 12}, max_start_epoch=3, num_expert_epochs=2)
    assert plain.last_epoch == 4
    searched = {
        "distill.max_start_epoch": Range(kind="int", low=2, high=6),
        "distill.num_expert_epochs": Choice(choices=(1, 3)),
        "distill.image_lr": Range(low=1, high=1000),
    }
    method = type(plain)(plain.config, searched)
    assert method.last_epoch == 6 - 1 + 3
    facts = method.prepare(toy_task(), Generators(3)).facts
    assert (facts["epochs"], facts["kept_epochs"], facts["built"]) == (12, 8, 2)
    assert method.prepared_bytes(toy_task()) == 2 * (9 + 1) * 4 * facts["parameters"]
    assert method.estimate(toy_task(), Generators(3)).num_bytes == method.prepared_bytes(toy_task())
    # A single run asks for less, and another trial for as much.
    for other in (plain, type(plain)(plain.config.model_copy(update={"max_start_epoch": 5}), searched)):
        assert other.prepare(toy_task(), Generators(3)).facts["built"] == 0
    short = {"distill.max_start_epoch": Range(kind="int", low=1, high=2)}
    assert type(plain)(plain.config, short).last_epoch == 4, "a single run may lie outside of the space"
    longer = {"distill.max_start_epoch": Range(kind="int", low=1, high=99)}
    assert type(plain)(plain.config, longer).last_epoch == 12


@pytest.mark.parametrize("name", FAMILY)
def test_the_last_epoch_is_the_last_one_read(
    name: str, toy_task: Factory, toy_method: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[int] = set()
    snapshot = Experts.snapshot

    def noted(self: Experts, expert: int, epoch: int) -> Tensor:
        read.add(epoch)
        return snapshot(self, expert, epoch)

    monkeypatch.setattr(Experts, "snapshot", noted)
    settings = {"max_start_epoch": 3, "num_expert_epochs": 2, "num_iterations": 40, "num_student_steps": 1}
    method = toy_method(name, experts={**EXPERTS, "num_epochs": 9}, **settings, image_lr=1e-3)
    final_of(method, toy_task())
    assert read == ({0, 1, 2, 3, 4} if name == "mtt" else {0, 1, 2, 3, 4, 9})


def test_experts_of_mtt_end_where_no_student_gets_farther(toy_task: Factory, toy_method: Factory) -> None:
    losses = {}
    for num_epochs in (4, 9):
        settings = {"max_start_epoch": 3, "num_expert_epochs": 2}
        method = toy_method("mtt", experts={**EXPERTS, "num_epochs": num_epochs}, **settings)
        assert method.estimate(toy_task(), Generators(0)).summary.startswith("2 experts of 4 epochs")
        losses[num_epochs] = final_of(method, toy_task())[1]
    assert losses[4] == losses[9]


@pytest.mark.parametrize("name", ["datm", "pad"])
def test_trimmed_experts_give_the_same_set_as_whole_ones(
    name: str, toy_task: Factory, toy_method: Factory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    method = toy_method(name, experts={**EXPERTS, "num_epochs": 9})
    trimmed, _ = final_of(method, toy_task())
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr(ExpertMatching, "last_epoch", 9)
    assert same(trimmed, final_of(method, toy_task())[0])


def test_datm_with_hard_labels_and_a_fixed_range_is_mtt(toy_task: Factory, toy_method: Factory) -> None:
    experts = {"experts": {"num_experts": 2, "num_epochs": 3, "batch_size": 8, "optimizer": "sgd"}}
    mtt, _ = final_of(toy_method("mtt", image_lr=100.0, **experts), toy_task())
    hard = {"soft_labels": False, "threshold": None, "init": "real"}
    datm, _ = final_of(toy_method("datm", **experts, **hard), toy_task())
    assert datm.logits is None
    assert same(mtt, datm)


@pytest.mark.parametrize("name", FAMILY)
def test_a_warm_cache_builds_nothing_and_changes_nothing(
    name: str, toy_task: Factory, toy_method: Factory
) -> None:
    task = toy_task()
    first, _ = final_of(toy_method(name), task, seed=77)
    again = toy_method(name)
    assert again.prepare(task, Generators(77)).metrics["cost/experts_built"] == 0
    assert again.estimate(task, Generators(77)).facts["to_build"] == 0
    assert same(first, final_of(again, task, seed=77)[0])


def test_a_new_seed_needs_experts_of_its_own(toy_task: Factory, toy_method: Factory) -> None:
    estimate = toy_method("mtt").estimate(toy_task(), Generators(4711))
    assert estimate.summary == "2 experts of 2 epochs, 2 of them to train"
    assert estimate.seconds > 0


@pytest.mark.parametrize("name", FAMILY)
def test_a_rehearsal_does_the_same_work_without_experts(
    name: str, toy_task: Factory, toy_method: Factory
) -> None:
    method = toy_method(name)
    steps = list(method.rehearse(toy_task(), Generators(991)))
    assert len(steps) == 5
    assert method.estimate(toy_task(), Generators(991)).facts["to_build"] == 2


@pytest.mark.parametrize("backward", ["unroll", "tesla"])
def test_other_backward_passes_are_close_to_or_unlike_the_exact_one(
    backward: str, toy_task: Factory, toy_method: Factory
) -> None:
    settings = {"num_iterations": 1, "image_lr": 10.0}
    exact = final_of(toy_method("mtt", **settings), toy_task())[0].images
    other = final_of(toy_method("mtt", backward=backward, **settings), toy_task())[0].images
    assert torch.allclose(exact, other, atol=1e-5) == (backward == "unroll")


def test_little_memory_means_chunks_and_the_same_result(toy_task: Factory, toy_method: Factory) -> None:
    settings = {"num_iterations": 1}
    whole = final_of(toy_method("mtt", **settings), toy_task())[0].images
    chunked = final_of(toy_method("mtt", memory_gb=2e-4, **settings), toy_task())[0].images
    torch.testing.assert_close(whole, chunked, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    # 4 + floor(8 · iteration / 50), and 12 from iteration 50 on.
    ("iteration", "upper"),
    [(0, 4), (6, 4), (7, 5), (12, 5), (13, 6), (49, 11), (50, 12), (99, 12)],
)
def test_upper_end_of_the_range_expands_as_published(iteration: int, upper: int) -> None:
    config = DATMConfig(
        num_iterations=100, first_max_start_epoch=4, max_start_epoch=12, expansion_fraction=0.5
    )
    assert config.start_range(iteration) == (0, upper)


def test_range_never_shrinks_and_stays_where_no_first_end_is_given() -> None:
    config = DATMConfig(num_iterations=40, first_max_start_epoch=3, max_start_epoch=20)
    ends = [config.start_range(iteration)[1] for iteration in range(40)]
    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == (3, 20)
    assert {DATMConfig().start_range(iteration) for iteration in (0, 9999)} == {(0, 20)}


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (TrajectoryConfig, {"max_start_epoch": 60}, "reach to epoch 62, but experts.num_epochs = 50"),
        (
            DATMConfig,
            {"min_start_epoch": 20},
            "min_start_epoch = 20 must be below first_max_start_epoch = 20",
        ),
        (DATMConfig, {"first_max_start_epoch": 30}, "not above max_start_epoch = 20"),
        (PADConfig, {"discard_fraction": 1.0}, r"discard_fraction = 1\.0"),
    ],
)
def test_impossible_settings_are_one_line(config: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(config, values, "distill")
    assert "\n" not in str(caught.value)


def test_above_the_threshold_nothing_moves_and_somebody_says_so(
    toy_task: Factory, toy_method: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    steps = toy_method("datm", threshold=1e-6, backoff=1.0).distill(toy_task(), Generators(0))
    start = next(steps).snapshot()
    rest = list(steps)
    assert same(start, rest[-1].snapshot())
    assert all(float(one.losses["match/updated"]) == 0 for one in rest)
    assert f"{len(rest)} of {len(rest)} updates were left out" in caplog.text
    caplog.clear()
    list(toy_method("datm", threshold=1e6).distill(toy_task(), Generators(0)))
    assert not caplog.records
    assert all(float(one.losses["match/loss"]) > 1e-6 for one in rest)


@pytest.mark.parametrize(("held", "said_at"), [(1e-6, 10), (0.9, None)])
def test_a_run_that_stands_still_says_so_early_and_once(
    held: float, said_at: int | None, toy_task: Factory, toy_method: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    spoken = []
    for progress in toy_method("datm", threshold=held, num_iterations=14).distill(toy_task(), Generators(0)):
        spoken.append((progress.iteration, len(caplog.records)))
    # A generator speaks of an iteration when it is asked for the next one.
    first = next((iteration - 1 for iteration, number in spoken if number), None)
    assert first == said_at
    if said_at:
        assert "10 of 10 updates were left out" in caplog.records[0].getMessage()
        assert spoken[-1] == (14, 1)


@pytest.mark.parametrize("name", FAMILY)
def test_a_step_size_that_is_not_given_is_the_nearest_to_the_experts(
    name: str, toy_task: Factory, toy_method: Factory
) -> None:
    def first_losses(size: float | None, factor: float = 1.0) -> tuple[float, float]:
        settings = {"step_size": size, "step_size_factor": factor, "threshold": None, "image_lr": 1e-9}
        if name == "mtt":
            del settings["threshold"]
        settings |= {"step_size_lr": 0.0, "num_student_steps": 10, "num_iterations": 6}
        synthetic, losses = final_of(toy_method(name, **settings), toy_task())
        assert synthetic.step_size is not None
        return synthetic.step_size, sum(one["match/loss"] for one in losses) / len(losses)

    found, loss = first_losses(None)
    assert any(found == pytest.approx(size) for size in STEP_SIZES)
    others = [first_losses(size)[1] for size in STEP_SIZES]
    # Other students measure here than chose there, so a neighbour may be a little nearer.
    assert loss <= min(others) + 0.2 * (1 - min(others))
    assert loss < 1
    assert first_losses(None, 0.5)[0] == pytest.approx(0.5 * found)


def test_a_step_size_that_is_too_large_shrinks_until_updates_are_made(
    toy_task: Factory, toy_method: Factory
) -> None:
    settings = {
        "step_size": 50.0,
        "num_iterations": 40,
        "image_lr": 1.0,
        "label_lr": 0.0,
        "step_size_lr": 0.0,
    }
    _, losses = final_of(toy_method("datm", **settings), toy_task())
    made = [one["match/updated"] for one in losses]
    assert made[0] == 0
    assert made[-1] == 1
    for one, following in pairwise(losses):
        shrinks = one["match/loss"] > 1
        factor = 0.7 if shrinks else 1.0
        assert following["match/step_size"] == pytest.approx(factor * one["match/step_size"])
    _, stuck = final_of(toy_method("datm", backoff=1.0, **settings), toy_task())
    assert {one["match/updated"] for one in stuck} == {0}


def test_a_student_that_takes_no_step_has_loss_one(toy_task: Factory, toy_method: Factory) -> None:
    _, losses = final_of(toy_method("mtt", num_student_steps=0, num_iterations=2), toy_task())
    assert [one["match/loss"] for one in losses] == pytest.approx([1, 1])


def test_the_step_size_is_learned_and_stays_positive(toy_task: Factory, toy_method: Factory) -> None:
    synthetic, losses = final_of(toy_method("mtt", step_size_lr=1e-3), toy_task())
    assert losses[0]["match/step_size"] == pytest.approx(0.01)
    assert losses[-1]["match/step_size"] != losses[0]["match/step_size"]
    assert synthetic.step_size is not None


def test_the_step_size_cannot_become_negative() -> None:
    config = TrajectoryConfig(image_lr=1.0, momentum=0.5, step_size_lr=1.0)
    learned = LearnedSet(config, Start(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])), 0.01, ("a", "b"))
    gradients = StudentGradients(
        torch.tensor(0.5), torch.zeros(3), torch.ones(2, 1, 4, 4), None, torch.tensor(7.0)
    )
    synthetic = learned.descend(gradients, {"match/loss": torch.tensor(0.5)}, 1).snapshot()
    assert synthetic.step_size == pytest.approx(MIN_STEP_SIZE)
    assert torch.equal(synthetic.images, -torch.ones(2, 1, 4, 4))
    with pytest.raises(DivergedError, match="match/loss"):
        learned.descend(gradients, {"match/loss": torch.tensor(float("nan"))}, 2)


def test_soft_labels_start_right_and_are_learned(toy_task: Factory, toy_method: Factory) -> None:
    steps = toy_method("datm", label_lr=5.0).distill(toy_task(), Generators(0))
    start = next(steps).snapshot()
    assert start.logits is not None
    assert torch.equal(start.logits.argmax(1), start.labels)
    torch.testing.assert_close(start.targets().sum(1), torch.ones(6))
    end = list(steps)[-1].snapshot()
    assert end.logits is not None
    assert not torch.equal(start.logits, end.logits)
    kept = list(toy_method("datm", label_lr=0.0).distill(toy_task(), Generators(0)))[-1].snapshot()
    assert kept.logits is not None
    assert torch.equal(kept.logits, start.logits)


def test_labels_average_only_the_experts_that_are_right() -> None:
    logits = torch.tensor([[[3.0, 1.0], [9.0, 0.0]], [[0.0, 5.0], [7.0, 2.0]]])
    labels = torch.tensor([0, 1])
    # Expert 0 alone is right about the first image; nobody is about the second, so all count.
    expected = torch.tensor([[3.0, 1.0], [8.0, 1.0]])
    assert torch.equal(average_correct(logits, labels), expected)


def test_experts_judge_as_many_images_at_once_as_memory_allows(
    toy_task: Factory, monkeypatch: pytest.MonkeyPatch, set_room: Factory
) -> None:
    task = toy_task()
    network = build_model(task.model, (1, 8, 8), 3, torch.Generator().manual_seed(0))
    flat, seen = flatten_parameters(network), []

    def forward(network: Network, flat: Tensor, images: Tensor) -> Tensor:
        seen.append(len(images))
        return forward_flat(network, flat, images)

    monkeypatch.setattr(expert_start, "forward_flat", forward)
    whole = expert_start._logits(network, flat, task.train.images[:10])
    set_room("expert answers", 4 * work_of(network).largest_map * 4)
    pieces = expert_start._logits(network, flat, task.train.images[:10])
    assert seen == [10, 4, 4, 2]
    torch.testing.assert_close(whole, pieces)


def test_start_takes_images_that_an_expert_gets_right(toy_task: Factory) -> None:
    task = toy_task()
    network = build_model(task.model, (1, 8, 8), 3, torch.Generator().manual_seed(0))
    finals = [flatten_parameters(network)]
    network.reset_parameters(torch.Generator().manual_seed(1))
    finals.append(flatten_parameters(network))
    positions = first_correct(task.train, 3, network, finals, torch.Generator().manual_seed(2))
    assert len(set(positions.tolist())) == 9
    labels = task.train.labels[positions]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    def right(flat: Tensor, chosen: Tensor) -> Tensor:
        with torch.no_grad():
            return forward_flat(network, flat, task.train.images[chosen]).argmax(1)

    for label in range(3):
        members = (task.train.labels == label).nonzero().flatten()
        by_first = (right(finals[0], members) == label).sum()
        taken = positions[labels == label]
        got = (right(finals[0], taken) == label).sum()
        assert int(got) == min(3, int(by_first))


@pytest.mark.parametrize("name", FAMILY)
def test_four_iterations_give_the_recorded_losses(name: str, toy_task: Factory, toy_method: Factory) -> None:
    _, losses = final_of(toy_method(name), toy_task())
    found = [one["match/loss"] for one in losses]
    message = (
        f"{name} gives {found}. Re-record PINNED only if the draws or the mathematics changed on purpose; "
        "a refactoring or a faster kernel must leave these numbers alone."
    )
    assert found == pytest.approx(PINNED[name], rel=2e-3), message


@pytest.mark.parametrize(
    ("losses", "expected", "tried"),
    [
        # Falls to its least, then rises twice: the larger ones are not tried.
        ([0.9, 0.7, 0.6, 0.65, 0.8, 0.1, 0.1, 0.1], 2, 5),
        # One rise alone is no end.
        ([0.9, 0.7, 0.75, 0.5, 0.6, 0.7, 0.1, 0.1], 3, 6),
        ([0.9, 1.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 0, 2),
        ([0.9, 0.8, float("nan"), 0.1, 0.1, 0.1, 0.1, 0.1], 1, 3),
        ([float("inf"), *[0.1] * 7], 0, 1),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], 7, 8),
    ],
)
def test_the_search_of_a_step_size_ends_beyond_the_minimum(
    losses: list[float], expected: int, tried: int
) -> None:
    asked: list[float] = []

    def measure(size: float) -> list[Tensor]:
        asked.append(size)
        loss = losses[STEP_SIZES.index(size)]
        return [torch.tensor(loss - 0.01), torch.tensor(loss + 0.01)]

    assert nearest_step_size(measure) == STEP_SIZES[expected]
    assert asked == list(STEP_SIZES[:tried])
