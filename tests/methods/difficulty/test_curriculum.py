from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import torch
from torch import Tensor

from study.core.config import build
from study.core.errors import ConfigError, ShapeError
from study.core.seeding import Generators
from study.methods.difficulty.curriculum import Curriculum, CurriculumConfig, build_curriculum
from study.methods.difficulty.ranking import rank_by_class
from study.methods.difficulty.scores import DifficultyConfig, difficulty_key, difficulty_scores
from study.methods.experts.config import WholeSet

Factory = Callable[..., Any]

WHOLE = CurriculumConfig(initial_fraction=1.0, removals=())
DIFFICULTY = {"score": "el2n", "seed": 0}


def ranking_of(*counts: int, seed: int = 0) -> list[Tensor]:
    """Classes of these sizes, shuffled together, in an arbitrary order of difficulty."""
    order = torch.randperm(sum(counts), generator=torch.Generator().manual_seed(seed))
    return list(torch.split(order, list(counts)))


def curriculum_of(config: CurriculumConfig, *counts: int) -> tuple[Curriculum, list[Tensor]]:
    ranking = ranking_of(*counts)
    return Curriculum(config, ranking, DIFFICULTY), ranking


def kept(curriculum: Curriculum, ranking: list[Tensor], epoch: int) -> list[list[int]]:
    """For each class the ranks, 0 the easiest, of the images that an epoch sees."""
    seen = set(curriculum.indices(epoch).tolist())
    return [[rank for rank, position in enumerate(c.tolist()) if position in seen] for c in ranking]


def test_published_values_are_the_defaults() -> None:
    config = CurriculumConfig()
    assert (config.initial_fraction, config.addition_end_epoch) == (0.75, 20)
    assert config.removals == ((40, 0.1), (60, 0.2))


def test_share_grows_from_the_initial_fraction_to_one_and_never_falls() -> None:
    config = CurriculumConfig()
    shares = [config.added(epoch) for epoch in range(80)]
    assert shares[0] == 0.75
    assert shares[19] < 1
    assert shares[20] == 1
    assert shares == sorted(shares)
    assert set(shares[20:]) == {1}


def test_published_counts_on_5000_images_a_class() -> None:
    curriculum, _ = curriculum_of(CurriculumConfig(), 5000)
    images = [len(curriculum.indices(epoch)) for epoch in range(100)]
    assert (images[0], images[20], images[40]) == (3750, 5000, 5000)
    assert (images[41], images[60]) == (4500, 4500)
    assert (images[61], images[99]) == (4000, 4000)


@pytest.mark.parametrize("epoch", range(70))
def test_ranks_match_the_table_with_17_images_a_class(epoch: int) -> None:
    curriculum, ranking = curriculum_of(CurriculumConfig(), 17, 17, 17)
    # In decimals, which hold these fractions exactly.
    initial = Decimal("0.75")
    first, last = 0, 17
    if epoch <= 20:
        share = min(Decimal(1), initial + (1 - initial) * epoch / 20)
        last = math.floor(share * 17)
    elif 40 < epoch <= 60:
        first = math.floor(Decimal("0.1") * 17)
    elif epoch > 60:
        first = math.floor(Decimal("0.2") * 17)
    assert kept(curriculum, ranking, epoch) == [list(range(first, last))] * 3


def test_numbers_of_the_17_images_in_the_table() -> None:
    curriculum, _ = curriculum_of(CurriculumConfig(), 17, 17)
    images = [len(curriculum.indices(epoch)) // 2 for epoch in (0, 10, 19, 20, 40, 41, 60, 61)]
    assert images == [12, 14, 16, 17, 17, 16, 16, 14]


def test_first_epoch_sees_the_easiest_of_every_class() -> None:
    curriculum, ranking = curriculum_of(CurriculumConfig(initial_fraction=0.5), 8, 8)
    easiest = torch.cat([positions[:4] for positions in ranking]).sort().values
    assert torch.equal(curriculum.indices(0), easiest)


def test_classes_of_one_size_stay_balanced_and_others_keep_their_share() -> None:
    even, even_ranking = curriculum_of(CurriculumConfig(), 17, 17, 17)
    odd, odd_ranking = curriculum_of(CurriculumConfig(), 20, 7, 31)
    for epoch in (0, 7, 20, 45, 70):
        assert len({len(ranks) for ranks in kept(even, even_ranking, epoch)}) == 1
        share = CurriculumConfig().added(epoch)
        gone = CurriculumConfig().removed(epoch)
        expected = [math.floor(share * n) - math.floor(gone * n) for n in (20, 7, 31)]
        assert [len(ranks) for ranks in kept(odd, odd_ranking, epoch)] == expected


def test_removal_leaves_out_the_easiest_share_and_does_not_add_up() -> None:
    curriculum, ranking = curriculum_of(CurriculumConfig(), 50, 50)
    easiest = {int(position) for positions in ranking for position in positions[:10]}
    assert not easiest & set(curriculum.indices(61).tolist())
    assert len(curriculum.indices(61)) == 80
    # The rest of the first removal's share is seen until the second one.
    assert len(easiest & set(curriculum.indices(60).tolist())) == 10


def test_one_removal_as_in_the_paper() -> None:
    config = CurriculumConfig(addition_end_epoch=20, removals=((20, 0.25),))
    curriculum, _ = curriculum_of(config, 16)
    assert [len(curriculum.indices(epoch)) for epoch in range(19, 23)] == [15, 16, 12, 12]


@pytest.mark.parametrize(
    ("fraction", "num_images", "expected"),
    [(0.29, 100, 29), (0.57, 100, 57), (0.1 + 0.2, 10, 3), (0.7, 10, 7), (1 / 3, 9, 3), (0.999, 999, 998)],
)
def test_rounding_down_ignores_the_error_of_floats(fraction: float, num_images: int, expected: int) -> None:
    adding = CurriculumConfig(initial_fraction=fraction, removals=())
    assert len(curriculum_of(adding, num_images)[0].indices(0)) == expected
    removing = CurriculumConfig(initial_fraction=1, addition_end_epoch=1, removals=((1, fraction),))
    assert len(curriculum_of(removing, num_images)[0].indices(2)) == num_images - expected


def test_floats_alone_would_lose_an_image() -> None:
    assert math.floor(0.29 * 100) == 28


def test_where_every_epoch_sees_everything_positions_and_key_are_those_of_the_whole_set() -> None:
    for config in (WHOLE, CurriculumConfig(initial_fraction=1, removals=((40, 0.0),))):
        curriculum, _ = curriculum_of(config, 17, 9)
        for epoch in (0, 1, 20, 99):
            assert torch.equal(curriculum.indices(epoch), torch.arange(26))
        assert curriculum.key() == WholeSet().key()


def test_key_differs_where_an_epoch_does_and_only_there() -> None:
    def key_of(settings: dict[str, Any], difficulty: dict[str, Any] = DIFFICULTY) -> Any:
        return Curriculum(CurriculumConfig.model_validate(settings), ranking_of(9), difficulty).key()

    base = {"initial_fraction": 0.5, "addition_end_epoch": 5, "removals": ((10, 0.1),)}
    key = key_of(base)
    different: list[dict[str, Any]] = [
        {"initial_fraction": 0.6},
        {"addition_end_epoch": 6},
        {"removals": ((11, 0.1),)},
        {"removals": ((10, 0.2),)},
        {"removals": ((10, 0.1), (20, 0.0))},
        {"removals": ()},
    ]
    for change in different:
        assert key_of(base | change) != key
    assert key_of(base, {"score": "loss"}) != key
    same: list[dict[str, Any]] = [
        {"initial_fraction": 0.5000000000000001},
        {"removals": ((7, 0.0), (10, 0.1))},
        {"removals": ((10, 0.1), (20, 0.1))},
    ]
    for change in same:
        assert key_of(base | change) == key
    everything = {"initial_fraction": 1.0, "removals": ((10, 0.1),)}
    keys = [key_of(everything | {"addition_end_epoch": end}) for end in (3, 9)]
    assert keys[0] == keys[1]


def test_built_schedule_ranks_by_difficulty(toy_task: Factory, toy_dataset: Factory) -> None:
    task = toy_task(train=toy_dataset(counts=(17, 17, 17)))
    difficulty = DifficultyConfig(num_networks=2, num_epochs=2, batch_size=16)
    config = CurriculumConfig(initial_fraction=0.5, addition_end_epoch=4, removals=((6, 0.3),))
    curriculum = build_curriculum(task, config, difficulty, Generators(3))
    ranking = rank_by_class(difficulty_scores(task, difficulty, Generators(3)), task.train.labels, 3)
    assert isinstance(curriculum, Curriculum)
    assert kept(curriculum, ranking, 0) == [list(range(8))] * 3
    assert kept(curriculum, ranking, 9) == [list(range(5, 17))] * 3
    assert curriculum.key()["difficulty"] == difficulty_key(task, difficulty, Generators(3))


def test_whole_set_is_built_without_scoring(toy_task: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> Tensor:
        raise AssertionError("scored")

    monkeypatch.setattr("study.methods.difficulty.curriculum.difficulty_scores", fail)
    task = toy_task()
    curriculum = build_curriculum(task, WHOLE, DifficultyConfig(), Generators(0))
    assert curriculum.key() == WholeSet().key()
    with pytest.raises(AssertionError, match="scored"):
        build_curriculum(task, CurriculumConfig(), DifficultyConfig(), Generators(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"removals": [[40, 0.1], [40, 0.2]]}, r"distill\.schedule\.removals = .*: .* must ascend"),
        ({"removals": [[40, 0.1], [30, 0.2]]}, "must ascend"),
        ({"removals": [[19, 0.1]]}, "removed before the addition ends with epoch 20"),
        ({"removals": [[40, 1.0]]}, r"removals\.0\.1 = 1\.0: .*less than or equal to 0\.999"),
        ({"removals": [[40, 0.1], [50, 0.2], [60, 0.3]]}, "removals"),
        ({"initial_fraction": 0}, "initial_fraction = 0: .*greater than 0"),
        ({"initial_fraction": 1.1}, "less than or equal to 1"),
        ({"addition_end_epoch": 0}, "greater than or equal to 1"),
        ({"removal": []}, "Did you mean 'distill.schedule.removals'"),
    ],
)
def test_bad_settings_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(CurriculumConfig, changes, "distill.schedule")
    assert "\n" not in str(caught.value)


def test_a_class_that_would_be_empty_in_the_first_epoch_is_an_error() -> None:
    config = CurriculumConfig(initial_fraction=0.1, removals=())
    with pytest.raises(ConfigError, match=r"0\.1: leaves none of the 9 images .*; use 0\.112 or more"):
        curriculum_of(config, 17, 9)
    assert len(curriculum_of(CurriculumConfig(initial_fraction=0.112, removals=()), 17, 9)[0].indices(0)) == 2


@pytest.mark.parametrize("ranking", [[[0, 1], [1, 2]], [[0, 1], [3]], [[0], [0]]])
def test_a_ranking_names_each_position_once(ranking: list[list[int]]) -> None:
    with pytest.raises(ShapeError, match="each of its"):
        Curriculum(CurriculumConfig(), [torch.tensor(positions) for positions in ranking], {})
