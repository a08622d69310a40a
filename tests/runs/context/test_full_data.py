"""What all real training images reach: stated by sets registered after somebody trained on them."""

import pytest

from study.evaluation.recipes import EvaluationConfig
from study.protocols.base import EvaluateOptions
from study.runs.config.configure import Request, configure
from study.runs.context.run_context import open_context
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.distill import distill
from study.runs.evaluate import evaluate
from study.sets.files import read_set

RECIPE = EvaluationConfig(preset="course", lr=0.05, num_epochs=2, num_seeds=2)


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """``registered(name)`` distils a set and gives its manifest, card and run, in a cache of its own."""
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("study.evaluation.full_data.FULL_DATA", RECIPE)
    stores = StoreOptions(root=tmp_path / "mlruns")

    def distilled(name):
        config = configure(Request("random", "digits", 1, "smoke"))
        outcome = distill(config, stores, output=tmp_path / name)
        run = open_tracking(stores).get_run(outcome.winner.run_id)
        return read_set(tmp_path / name).manifest, (tmp_path / name / "README.md").read_text(), run

    return distilled


def test_only_what_is_known_stands_in_manifest_card_and_run(registered, tmp_path):
    manifest, card, run = registered("before")
    assert manifest.full_data is None
    assert "all training images" not in card
    assert not any(name.startswith("full/") for name in run.metrics)

    stores = StoreOptions(root=tmp_path / "mlruns")
    (line,) = evaluate(str(tmp_path / "before"), EvaluateOptions(pool="none", num_seeds=1), stores).totals

    manifest, card, run = registered("after")
    num_images = manifest.full_data.num_images
    assert f"({num_images:,} images, 2 epochs)" in line["model"]
    assert manifest.full_data.num_epochs == 2
    assert set(manifest.full_data.scores) == {"validation"}, "nobody has scored it on test"
    score = manifest.full_data.scores["validation"]
    assert (score.mean, score.n) == (line["distilled"], 2)
    assert f"| all {num_images:,} training images, 2 epochs | validation | accuracy |" in card
    assert run.metrics["full/val_accuracy"] == pytest.approx(score.mean)
    assert "full/test_accuracy" not in run.metrics


def test_the_line_depends_on_the_real_data_and_the_network_alone(registered, tmp_path):
    registered("set")
    stores = StoreOptions(root=tmp_path / "mlruns")
    evaluate(str(tmp_path / "set"), EvaluateOptions(pool="none", num_seeds=1), stores)

    def known(method="random", **more):
        config = configure(Request(method, "digits", 5, "smoke", seed=3, overrides=more))
        return bool(open_context(config, None).full_data.known(["validation"]))

    width = open_context(configure(Request("random", "digits", 1, "smoke")), None).config.model.width
    assert known()
    assert known("dm", model={"width": width}, data={"augmentation": "none"})
    assert not known(model={"width": width + 8})
    assert not known(data={"split_seed": 1})
