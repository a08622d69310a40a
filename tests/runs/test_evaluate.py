"""A stored set on many architectures, and two stored sets against each other, from folder to tracked run."""

import json

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.evaluation.recipes import EvaluationConfig
from study.protocols.base import EvaluateOptions
from study.runs.compare import compare_sets
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.distill import distill
from study.runs.evaluate import evaluate


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Two small sets of random real images in one store."""
    base = tmp_path_factory.mktemp("sets")
    root = base / "mlruns"
    for name, seed in (("first", 0), ("second", 1)):
        config = configure(Request("random", "digits", 1, "smoke", seed))
        distill(config, StoreOptions(root=root), output=base / name)
    return base


def options(**more):
    return EvaluateOptions(**{"num_seeds": 2, "full_data": False, **more})


def asked(stored, folder="first", **more):
    return evaluate(str(stored / folder), options(**more), StoreOptions(root=stored / "mlruns"))


@pytest.fixture(scope="module")
def evaluated(stored):
    before = (stored / "first" / "data.safetensors").read_bytes()
    evaluation = asked(stored, models=("lenet", "mlp:16"))
    assert (stored / "first" / "data.safetensors").read_bytes() == before
    return evaluation


def test_table_has_the_own_architecture_first_and_every_model_asked_for(evaluated):
    rows = evaluated.rows
    assert [row["model"] for row in rows] == ["convnet", "lenet", "mlp"]
    assert [row["own"] for row in rows] == [True, False, False]
    assert rows[2]["width"] == 16
    for row in rows:
        assert row["n"] == len(row["distilled_values"]) == len(row["random_values"]) == 2
        assert 0 <= row["distilled_low"] <= row["distilled"] <= row["distilled_high"] <= 1


def test_mean_and_worst_are_of_the_others(evaluated):
    for name in ("distilled", "random"):
        others = [row[name] for row in evaluated.rows[1:]]
        mean, worst = (total[name] for total in evaluated.totals)
        assert (mean, worst) == (pytest.approx(sum(others) / 2), pytest.approx(min(others)))
    assert evaluated.metrics["cross/mean"] == evaluated.totals[0]["distilled"]


def test_the_same_figures_are_tracked_and_in_json(stored, evaluated, tmp_path):
    plain = json.loads(json.dumps(evaluated.plain(), allow_nan=False))
    tracker = open_tracking(StoreOptions(root=stored / "mlruns"))
    metrics = tracker.get_run(evaluated.run_id).metrics
    assert plain["metrics"].items() <= {name: pytest.approx(value) for name, value in metrics.items()}.items()
    table = json.loads(tracker.download(evaluated.run_id, "architectures_table.json", tmp_path).read_text())
    column = table["columns"].index("distilled")
    assert [row[column] for row in table["data"]] == pytest.approx(
        [row["distilled"] for row in plain["rows"]]
    )
    picture = tracker.download(evaluated.run_id, "architectures.png", tmp_path).read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_an_evaluation_repeats_to_the_bit(stored, evaluated):
    again = asked(stored, models=("mlp:16",))
    assert again.rows == [evaluated.rows[0], evaluated.rows[2]]


def test_own_architecture_alone_has_no_cross_score(stored):
    evaluation = asked(stored, pool="none")
    assert [row["model"] for row in evaluation.rows] == ["convnet"]
    assert [name for name in evaluation.metrics if name.startswith("cross/")] == ["cross/convnet"]
    assert evaluation.totals == []


def test_the_full_data_stands_above_the_set_once_it_is_known(stored, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr("study.evaluation.full_data.FULL_DATA", EvaluationConfig(num_epochs=2, num_seeds=2))
    tracker = open_tracking(StoreOptions(root=stored / "mlruns"))

    def evaluated(**more):
        evaluation = asked(stored, pool="none", **more)
        metrics = tracker.get_run(evaluation.run_id).metrics
        return evaluation, {name: value for name, value in metrics.items() if name.startswith("full/")}

    unknown, metrics = evaluated(full_data=False)
    assert not metrics
    assert not unknown.totals
    assert "2 epochs): not known here; --full-data trains on it once, about 0 s" in unknown.notes[-1]
    monkeypatch.setattr("study.protocols.architectures.MAX_UNASKED_SECONDS", 0.0)
    assert not evaluated(full_data=None)[1], "too dear to be trained unasked"
    known, metrics = evaluated(full_data=True)
    (line,) = known.totals
    assert metrics == {
        "full/val_accuracy": pytest.approx(line["distilled"]),
        "full/val_accuracy_std": pytest.approx(line["distilled_std"]),
        "full/num_seeds": 2.0,
    }
    monkeypatch.setattr("study.evaluation.full_data.full_set", None)
    assert evaluated(full_data=None)[0].totals == [line] == evaluated(full_data=False)[0].totals


def test_cheap_full_data_is_trained_on_without_asking(stored, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr("study.evaluation.full_data.FULL_DATA", EvaluationConfig(num_epochs=1, num_seeds=1))
    (line,) = asked(stored, pool="none", full_data=None, split="test").totals
    assert line["n"] == 1
    assert line["model"].startswith("convnet on whole training data (1,")
    assert line["model"].endswith(" images, 1 epochs)")


def test_what_is_not_in_a_pool_is_refused_before_anything_is_loaded(stored):
    with pytest.raises(UnknownNameError, match="Did you mean 'lenet'"):
        evaluate("no-such-set", options(models=("lenett",)))
    with pytest.raises(ConfigError, match="none, quick, full"):
        evaluate("no-such-set", options(pool="huge"))


def test_two_sets_are_compared_seed_by_seed(stored):
    folders = [str(stored / name) for name in ("first", "second")]
    comparison = compare_sets(*folders, options(num_seeds=3), StoreOptions(root=stored / "mlruns"))
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
    assert asked(stored, num_seeds=3, pool="none").rows[0]["distilled_values"] == values[0]


def test_sets_are_compared_in_the_store_that_was_named(stored, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    registered = [f"digits-random-ipc1/{version}" for version in (1, 2)]
    comparison = compare_sets(*registered, options(), StoreOptions(root=stored / "mlruns"))
    assert comparison.sets == tuple(registered)
    assert list(tmp_path.iterdir()) == []


def test_a_set_does_not_differ_from_itself(stored):
    folder = str(stored / "first")
    comparison = compare_sets(folder, folder, options(), StoreOptions(root=stored / "mlruns"))
    assert comparison.difference["mean"] == 0.0
    assert comparison.p_value == 1.0


def test_sets_scored_on_different_images_are_not_compared(stored, tmp_path):
    config = configure(
        Request("random", "digits", 1, "smoke", overrides={"data": {"split_seed": 7}})
    )  # fmt: skip
    distill(config, StoreOptions(root=tmp_path / "mlruns"), output=tmp_path / "other")
    with pytest.raises(ConfigError, match="split_seed"):
        compare_sets(str(stored / "first"), str(tmp_path / "other"), options())
