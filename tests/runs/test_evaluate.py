"""A stored set on many architectures, and two stored sets against each other, from folder to tracked run."""

import dataclasses
import json

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.evaluation.recipes import EvaluationConfig
from study.runs.compare import compare_sets
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.distill import DistillOptions, distill
from study.runs.evaluate import EvaluateOptions, evaluate_set


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Two small sets of random real images in one store."""
    base = tmp_path_factory.mktemp("sets")
    root = base / "mlruns"
    for name, seed in (("first", 0), ("second", 1)):
        config = configure(Request("random", "digits", 1, "smoke", seed))
        distill(config, DistillOptions(StoreOptions(root=root), output=base / name))
    return base


def options(stored, **more):
    settings = {"full_data": False, **more}
    return EvaluateOptions(num_seeds=2, stores=StoreOptions(root=stored / "mlruns"), **settings)


@pytest.fixture(scope="module")
def evaluated(stored):
    before = (stored / "first" / "data.safetensors").read_bytes()
    evaluation = evaluate_set(str(stored / "first"), options(stored, models=("lenet", "mlp:16")))
    assert (stored / "first" / "data.safetensors").read_bytes() == before
    return evaluation


def test_table_has_the_own_architecture_first_and_every_model_asked_for(evaluated):
    rows = evaluated.architectures
    assert [row.model for row in rows] == ["convnet", "lenet", "mlp"]
    assert [row.is_own for row in rows] == [True, False, False]
    assert rows[2].width == 16
    for row in rows:
        assert row.distilled["n"] == row.random["n"] == 2
        assert 0 <= row.distilled["low"] <= row.distilled["mean"] <= row.distilled["high"] <= 1
    assert evaluated.distilled == rows[0].distilled


def test_mean_and_worst_are_of_the_others(evaluated):
    others = [row.distilled["mean"] for row in evaluated.architectures[1:]]
    assert evaluated.cross["mean"] == pytest.approx(sum(others) / 2)
    assert evaluated.cross["worst"] == pytest.approx(min(others))
    assert evaluated.random_cross["mean"] == pytest.approx(
        sum(row.random["mean"] for row in evaluated.architectures[1:]) / 2
    )


def test_the_same_figures_are_tracked_and_in_json(stored, evaluated, tmp_path):
    plain = json.loads(json.dumps(evaluated.plain(), allow_nan=False))
    tracker = open_tracking(StoreOptions(root=stored / "mlruns"))
    metrics = tracker.get_run(evaluated.run_id).metrics
    for name, value in plain["cross"].items():
        assert metrics[f"cross/{name}"] == pytest.approx(value)
    assert metrics["random/cross_worst"] == pytest.approx(plain["random_cross"]["worst"])
    table = json.loads(tracker.download(evaluated.run_id, "architectures.json", tmp_path).read_text())
    column = table["columns"].index("distilled mean")
    assert [row[column] for row in table["data"]] == pytest.approx(
        [row["distilled"]["mean"] for row in plain["architectures"]]
    )


def test_an_evaluation_repeats_to_the_bit(stored, evaluated):
    again = evaluate_set(str(stored / "first"), options(stored, models=("mlp:16",)))
    assert again.architectures[0] == evaluated.architectures[0]
    assert again.architectures[1] == evaluated.architectures[2]


def test_own_architecture_alone_has_no_cross_score(stored):
    evaluation = evaluate_set(str(stored / "first"), options(stored, pool="none"))
    assert [row.model for row in evaluation.architectures] == ["convnet"]
    assert set(evaluation.cross) == {"convnet"}


def test_the_full_data_stands_above_the_set_once_it_is_known(stored, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr("study.evaluation.full_data.FULL_DATA", EvaluationConfig(num_epochs=2, num_seeds=2))
    tracker = open_tracking(StoreOptions(root=stored / "mlruns"))

    def evaluated(**more):
        evaluation = evaluate_set(str(stored / "first"), options(stored, pool="none", **more))
        metrics = tracker.get_run(evaluation.run_id).metrics
        return evaluation.whole, {name: value for name, value in metrics.items() if name.startswith("full/")}

    unknown, metrics = evaluated(full_data=False)
    assert unknown.score is None
    assert not metrics
    assert unknown.num_images > 1000
    assert unknown.num_epochs == 2
    assert 0 < unknown.expected_seconds < 20
    monkeypatch.setattr("study.runs.context.full_data.MAX_UNASKED_SECONDS", 0.0)
    assert evaluated(full_data=None)[0].score is None, "too dear to be trained unasked"
    known, metrics = evaluated(full_data=True)
    assert known.score["n"] == 2
    assert metrics == {
        "full/val_accuracy": pytest.approx(known.score["mean"]),
        "full/val_accuracy_std": pytest.approx(known.score["std"]),
        "full/num_seeds": 2.0,
    }
    monkeypatch.setattr("study.evaluation.full_data.whole_set", None)
    assert evaluated(full_data=None)[0] == known == evaluated(full_data=False)[0]


def test_cheap_full_data_is_trained_on_without_asking(stored, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr("study.evaluation.full_data.FULL_DATA", EvaluationConfig(num_epochs=1, num_seeds=1))
    whole = evaluate_set(
        str(stored / "first"), options(stored, pool="none", full_data=None, split="test")
    ).whole
    assert whole.score["n"] == 1
    assert whole.label == f"whole training data ({whole.num_images:,} images, 1 epochs)"


def test_what_is_not_in_a_pool_is_refused_before_anything_is_loaded(stored):
    with pytest.raises(UnknownNameError, match="Did you mean 'lenet'"):
        evaluate_set("no-such-set", options(stored, models=("lenett",)))
    with pytest.raises(ConfigError, match="none, quick, full"):
        evaluate_set("no-such-set", options(stored, pool="huge"))


def test_two_sets_are_compared_seed_by_seed(stored):
    asked = dataclasses.replace(options(stored), num_seeds=3)
    folders = [str(stored / name) for name in ("first", "second")]
    comparison = compare_sets(*folders, asked)
    values = [score["values"] for score in comparison.scores]
    assert comparison.difference["mean"] == pytest.approx((sum(values[0]) - sum(values[1])) / 3)
    assert comparison.difference["n"] == 3
    assert comparison.smallest_p_value == pytest.approx(0.25)
    assert comparison.smallest_p_value <= comparison.p_value <= 1
    run = open_tracking(StoreOptions(root=stored / "mlruns")).get_run(comparison.run_id)
    assert run.metrics["compare/p_value"] == pytest.approx(comparison.p_value)
    assert run.tags["study.kind"] == "compare"
    json.dumps(comparison.plain(), allow_nan=False)
    # The seeds are those of `study evaluate` on the first set.
    alone = evaluate_set(folders[0], dataclasses.replace(asked, pool="none"))
    assert alone.distilled["values"] == values[0]


def test_a_set_does_not_differ_from_itself(stored):
    folder = str(stored / "first")
    comparison = compare_sets(folder, folder, options(stored))
    assert comparison.difference["mean"] == 0.0
    assert comparison.p_value == 1.0


def test_sets_scored_on_different_images_are_not_compared(stored, tmp_path):
    config = configure(
        Request("random", "digits", 1, "smoke", overrides={"data": {"split_seed": 7}})
    )  # fmt: skip
    distill(config, DistillOptions(StoreOptions(root=tmp_path / "mlruns"), output=tmp_path / "other"))
    with pytest.raises(ConfigError, match="split_seed"):
        compare_sets(str(stored / "first"), str(tmp_path / "other"), options(stored))
