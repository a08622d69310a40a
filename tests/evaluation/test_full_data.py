"""All real training images reach their usual accuracy, wrong labels teach nothing, and nobody trains twice."""

import dataclasses

import pytest
import torch

from study.core.device import ComputeConfig, resolve_compute
from study.core.records import ImageDataset
from study.core.seeding import Generators
from study.data.splits import DataConfig, load_splits
from study.evaluation.evaluator import Evaluator
from study.evaluation.full_data import FEW_EPOCHS, FULL_DATA, MANY_IMAGES, FullData, full_data_recipe
from study.evaluation.recipes import EvaluationConfig
from study.models.pool import ModelConfig


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))


@pytest.fixture
def build(evaluator, digits):
    def with_settings(num_seeds=1, evaluator=evaluator, fingerprint=digits.fingerprint, **settings):
        recipe = full_data_recipe(len(evaluator.train))
        config = recipe.model_copy(update={"num_seeds": num_seeds, **settings})
        return FullData(evaluator, {"fingerprint": fingerprint}, config)

    return with_settings


def nobody_asks():
    raise AssertionError("the real images were asked for")


def test_digits_reach_their_usual_accuracy_on_test(build, digits):
    before = digits.train.images.clone()
    whole = build()
    assert whole.num_epochs == 20
    score = whole.score("test", lambda: digits.test.open("what whole real data reaches, in a test"))
    assert score.mean >= 0.985
    assert torch.equal(digits.train.images, before)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mnist_reaches_its_usual_accuracy_on_test(mnist_root):
    splits = load_splits("mnist", DataConfig(), mnist_root)
    assert len(splits.train) >= MANY_IMAGES
    evaluator = Evaluator(
        splits.train, splits.validation, ModelConfig(width=64), EvaluationConfig(), splits.augmentation,
        resolve_compute(ComputeConfig()), Generators(0),
    )  # fmt: skip
    recipe = full_data_recipe(len(splits.train)).model_copy(update={"num_seeds": 1})
    whole = FullData(evaluator, {"fingerprint": splits.fingerprint}, recipe)
    assert whole.num_epochs == FEW_EPOCHS
    assert (
        whole.score("test", lambda: splits.test.open("what whole real data reaches, in a test")).mean >= 0.99
    )


def test_shuffled_labels_teach_chance(build, evaluator, digits):
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
    shuffled = ImageDataset(digits.train.images, digits.train.labels[order], digits.class_names)
    assert shuffled.class_counts() == digits.train.class_counts()
    right = build(num_epochs=4, num_seeds=3)
    whole = build(
        num_epochs=4, num_seeds=3, evaluator=evaluator.changed(train=shuffled), fingerprint="shuffled"
    )
    real = digits.validation
    score = whole.score("validation", lambda: real)
    deviation = (0.1 * 0.9 / len(real)) ** 0.5
    assert abs(score.mean - 0.1) < 4 * deviation
    assert right.score("validation", lambda: real).mean > 0.9, "the right labels do teach"


def test_a_kept_score_asks_for_no_image_and_is_the_same(build, digits):
    whole = build(num_seeds=2, num_epochs=1)
    assert whole.find("validation") is None
    first = whole.score("validation", lambda: digits.validation)
    assert first.n == 2
    for again in (whole.score("validation", nobody_asks), whole.find("validation")):
        assert (again.metric, again.values, again.extra) == (first.metric, first.values, first.extra)
        assert again.seconds == first.seconds


def test_whatever_determines_a_score_has_one_of_its_own(build, evaluator, digits):
    whole = build(num_epochs=1)
    whole.score("validation", lambda: digits.validation)
    low = dataclasses.replace(evaluator.compute, dtype=torch.bfloat16)
    others = [
        build(num_epochs=1, evaluator=evaluator.changed(model=ModelConfig(width=8))),
        build(num_epochs=1, fingerprint="other"),
        build(num_epochs=1, evaluator=evaluator.changed(compute=low)),
        build(num_epochs=2),
        build(num_epochs=1, num_seeds=2),
        build(num_epochs=1, augment=True),
    ]
    assert all(other.find("validation") is None for other in others)
    assert whole.find("test") is None


@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_score_is_trained_again(build, digits, tmp_path, caplog, damage):
    whole = build(num_epochs=1)
    first = whole.score("validation", lambda: digits.validation)
    (path,) = tmp_path.rglob("full-data-*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-9])
    assert whole.find("validation") is None
    assert "damaged" in caplog.text
    asked = []
    again = whole.score("validation", lambda: asked.append(1) or digits.validation)
    assert asked == [1]
    assert again.values == first.values
    assert whole.find("validation").values == first.values


def test_the_price_grows_with_what_is_trained(build):
    cheap, dear = build(num_epochs=1).expected_seconds, build(num_epochs=2, num_seeds=3).expected_seconds
    assert cheap > 0
    assert dear == pytest.approx(6 * cheap)


def test_the_recipe_shortens_where_images_are_many():
    assert full_data_recipe(MANY_IMAGES - 1) == FULL_DATA
    assert full_data_recipe(MANY_IMAGES) == EvaluationConfig(
        **{**FULL_DATA.model_dump(), "num_epochs": FEW_EPOCHS}
    )
