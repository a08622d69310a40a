"""Records refuse tensors of the wrong shape, and scores are what they say."""

import statistics

import pytest
import torch

from study.core.errors import ShapeError, unknown_name
from study.core.records import ImageDataset, Score, StepSchedule, SyntheticSet

IMAGES = torch.zeros(4, 1, 8, 8)
LABELS = torch.tensor([0, 0, 1, 1])


def test_counts_and_subsets():
    data = ImageDataset(IMAGES, LABELS, ("a", "b", "c"))
    assert data.class_counts() == [2, 2, 0]
    assert [i.tolist() for i in data.class_indices()] == [[0, 1], [2, 3], []]
    assert data.subset(torch.tensor([3])).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], LABELS, r"\[n, channels, height, width\]"),
        (IMAGES.double(), LABELS, "float32"),
        (IMAGES, LABELS[:3], r"int64 \[4\]"),
        (IMAGES, LABELS + 1, "2 classes"),
    ],
)
def test_wrong_tensors_are_refused(images, labels, message):
    with pytest.raises(ShapeError, match=message):
        ImageDataset(images, labels, ("a", "b"))


def test_soft_targets_are_probabilities():
    soft = SyntheticSet(IMAGES, LABELS, ("a", "b"), logits=torch.randn(4, 2, generator=torch.Generator()))
    assert torch.allclose(soft.targets().sum(1), torch.ones(4))
    assert soft.ipc == 2
    image, target = soft.as_dataset()[1]
    assert image.shape == (1, 8, 8)
    assert target.shape == (2,)
    with pytest.raises(ShapeError, match="logits"):
        SyntheticSet(IMAGES, LABELS, ("a", "b"), logits=torch.zeros(4, 3))


ORDER = torch.tensor([[0, 2], [1, 3], [0, 2]])
SIZES = torch.tensor([0.1, 0.2, 0.3])


def test_a_schedule_belongs_to_its_set():
    schedule = StepSchedule(ORDER, SIZES, network_seed=7)
    assert (len(schedule), schedule.batch_size) == (3, 2)
    moved = SyntheticSet(IMAGES, LABELS, ("a", "b"), schedule=schedule).to(torch.device("cpu"))
    assert torch.equal(moved.schedule.order, ORDER)
    assert torch.equal(moved.schedule.step_sizes, SIZES)
    assert moved.schedule.network_seed == 7


@pytest.mark.parametrize(
    ("order", "step_sizes", "message"),
    [
        (ORDER.flatten(), SIZES, r"expected int64 \[N, b\]"),
        (ORDER.int(), SIZES, "int32"),
        (ORDER[:0], SIZES[:0], r"\(0, 2\)"),
        (ORDER, SIZES[:2], r"float32 \[3\]"),
        (ORDER, SIZES.double(), "float64"),
        (ORDER, SIZES - 0.1, "above 0"),
        (ORDER, SIZES * torch.nan, "above 0"),
        (ORDER + 1, SIZES, "images 1 to 4, but there are 4"),
        (ORDER - 1, SIZES, "images -1 to 2"),
    ],
)
def test_a_schedule_that_cannot_be_replayed_is_refused(order, step_sizes, message):
    with pytest.raises(ShapeError, match=message):
        SyntheticSet(IMAGES, LABELS, ("a", "b"), schedule=StepSchedule(order, step_sizes))


def test_score_agrees_with_the_statistics_module():
    values = (0.5, 0.75, 0.7)
    score = Score("accuracy", values)
    assert score.mean == pytest.approx(statistics.mean(values))
    assert score.std == pytest.approx(statistics.stdev(values))
    assert Score("accuracy", (0.5,)).std == 0.0


def test_unknown_name_lists_choices_and_the_nearest():
    assert str(unknown_name("method", "dmm", ["pad", "dm"])) == (
        "unknown method 'dmm'. Did you mean 'dm'? Choices: dm, pad"
    )
