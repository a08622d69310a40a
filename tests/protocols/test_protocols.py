"""Every protocol on a set of digits, recorded in a store in memory; registration with its leakage check."""

import itertools
import json
import shlex
from types import SimpleNamespace

import pytest
import torch

from study.core.config import merge, parse_overrides
from study.core.errors import ConfigError, UnknownNameError
from study.core.records import Score, SyntheticSet
from study.core.seeding import Generators
from study.evaluation.baselines import random_real_sets
from study.evaluation.full_data import FullData
from study.evaluation.recipes import EvaluationConfig
from study.protocols.base import PROTOCOLS, EvaluateOptions
from study.protocols.ranking import full_data_of
from study.runs.config.configure import Request, configure
from study.runs.context.callbacks import Callback
from study.runs.context.run_context import open_context
from study.runs.context.saved import twin_command
from study.runs.context.stores import StoreOptions
from study.runs.evaluate import evaluate
from study.runs.registration.register import register_winner
from study.runs.registration.results import TrialResult
from study.sets.files import read_set, write_set
from study.sets.manifest import Manifest, parse_manifest
from study.tracking.open import open_tracker

pytestmark = pytest.mark.usefixtures("memory_stores")

SMALL = {"model": {"width": 16}, "evaluation": {"num_steps": 30}}


@pytest.fixture(scope="module")
def context():
    return open_context(configure(Request("random", "digits", 2, "smoke", overrides=SMALL)), None)


def real_set(context):
    return random_real_sets(context.train, 2, 1, Generators(5))[0]


def noise_set(context):
    real = real_set(context)
    noise = torch.randn(real.images.shape, generator=torch.Generator().manual_seed(1))
    return SyntheticSet(noise, real.labels, real.class_names)


@pytest.fixture(scope="module")
def folder(context, tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "real"
    manifest = Manifest(
        name="digits-random-ipc2", dataset="digits", method="random", config=context.config.plain(),
        dataset_fingerprint=context.splits.fingerprint,
    )  # fmt: skip
    write_set(path, real_set(context), manifest, context.splits.preprocessing)
    return str(path)


def run(name, folder, uri, **more):
    options = EvaluateOptions(protocol=name, num_seeds=2, **more)
    result = evaluate(folder, options, StoreOptions(tracking_uri=uri))
    assert json.loads(json.dumps(result.plain())) == result.plain()
    return result, open_tracker(uri).runs[result.run_id]


def assert_recorded(result, recorded):
    assert recorded.status == "FINISHED"
    assert recorded.tags["study.protocol"] == result.protocol
    assert result.metrics.items() <= recorded.info().metrics.items()
    for name in result.artifacts:
        assert len(recorded.files[name]) > 100
    assert any(name.endswith(".png") for name in result.artifacts)


def test_leakage_shows_the_pairs_of_a_set_of_copies(request, folder):
    result, recorded = run("leakage", folder, f"memory://{request.node.nodeid}")
    assert_recorded(result, recorded)
    assert (result.metrics["leakage/num_near_copies"], result.n, result.split) == (20, 0, "train")
    assert result.metrics["leakage/num_exact_copies"] == 20
    assert len(result.rows) == 20
    assert all(row["near_copy"] and row["pixel_distance"] == 0 for row in result.rows)
    assert "20 of 20" in result.notes[0]


def test_noise_gives_a_curve_of_each_kind(request, folder):
    result, recorded = run("noise", folder, f"memory://{request.node.nodeid}")
    assert_recorded(result, recorded)
    assert len(result.rows) == 2 * 2 * 6
    for metric in ("noise/training/distilled", "noise/real/random"):
        assert [step for step, _ in recorded.curves[metric]] == [0, 10, 20, 50, 100, 200]
    clean = [row["accuracy"] for row in result.rows if row["trained_on"] == "distilled" and row["level"] == 0]
    assert len(clean) == 2
    assert clean[0] == pytest.approx(clean[1]), "without noise both curves start from the same networks"

    twin = shlex.split(result.notes[-1])
    assert twin[:2] == ["study", "distill"]
    assert "distill.init=noise" in twin


@pytest.fixture(scope="module")
def noise_folder(context, tmp_path_factory):
    """The same set, as if it had started from noise."""
    config = context.config.plain()
    config["distill"]["init"] = "noise"
    path = tmp_path_factory.mktemp("sets") / "noise"
    manifest = Manifest(
        name="digits-random-ipc2", dataset="digits", method="random", config={**config, "method": "dm"},
        dataset_fingerprint=context.splits.fingerprint,
    )  # fmt: skip
    write_set(path, noise_set(context), manifest, context.splits.preprocessing)
    return str(path)


def test_noise_draws_a_set_that_started_elsewhere_beside(request, folder, noise_folder):
    result, recorded = run("noise", folder, f"memory://{request.node.nodeid}", against=noise_folder)
    assert_recorded(result, recorded)
    assert len(result.rows) == 2 * 3 * 6
    names = [f"{folder} (from real)", f"{noise_folder} (from noise)", "random real images"]
    assert list(dict.fromkeys(row["trained_on"] for row in result.rows)) == names
    assert result.metrics["noise/training_against_mean"] < result.metrics["noise/training_distilled_mean"]
    assert len(recorded.curves["noise/real/against"]) == 6
    assert "distill.init = real and noise" in result.notes[-1]
    short = {"evaluation": {"num_steps": 5}}
    same, _ = run("noise", folder, f"memory://{request.node.nodeid}/same", against=folder, overrides=short)
    for where in ("training", "real"):
        means = [same.metrics[f"noise/{where}_{name}_mean"] for name in ("distilled", "against")]
        assert means[0] == means[1], "a set beside itself gets the same seeds and the same noise"


def test_a_set_beside_has_to_be_comparable(request, folder, noise_folder, context, tmp_path):
    uri = f"memory://{request.node.nodeid}"
    with pytest.raises(ConfigError, match="protocol 'cost' takes none; noise does"):
        run("cost", folder, uri, against=noise_folder)
    for number, (changes, fault) in enumerate(
        [({"ipc": 1}, "ipc = 2"), ({"data": {"split_seed": 9}}, "split_seed")]
    ):
        manifest = Manifest(
            name="other", dataset="digits", method="random", config=merge(context.config.plain(), changes),
            dataset_fingerprint=context.splits.fingerprint,
        )  # fmt: skip
        write_set(tmp_path / str(number), real_set(context), manifest, context.splits.preprocessing)
        with pytest.raises(ConfigError, match=fault):
            run("noise", folder, uri, against=str(tmp_path / str(number)))


def test_the_command_for_a_twin_gives_the_same_configuration_but_for_the_change():
    overrides = {"distill": {"image_lr": 0.25}, "model": {"width": 24, "pooling": "none"}}
    config = configure(Request("dm", "digits", 3, "smoke", seed=4, overrides=overrides))
    words = shlex.split(twin_command(config, {"distill.init": "noise"}))
    settings = [word for key, word in itertools.pairwise(words) if key == "--set"]
    assert "distill.image_lr=0.25" in settings
    again = configure(Request("dm", "digits", 3, "smoke", seed=4, overrides=parse_overrides(settings)))
    twin = merge(config.plain(), {"distill": {"init": "noise"}})
    assert again.plain() == twin != config.plain()


def test_cost_weighs_the_set_against_real_data(request, folder, context):
    result, recorded = run("cost", folder, f"memory://{request.node.nodeid}")
    assert_recorded(result, recorded)
    own, short, real = result.rows
    assert own["num_steps"] == 30
    assert short["num_steps"] <= 45
    assert real["reached"]
    assert result.metrics["cost/flops_ratio"] == pytest.approx(real["flops"] / short["flops"])
    assert result.metrics["cost/images_ratio"] == pytest.approx(len(context.train) / 20)
    assert result.metrics["cost/set_bytes"] == 20 * 64 * 4 + 20 * 8


def test_cost_refuses_test_images(request, folder):
    with pytest.raises(ConfigError, match="split = 'test'"):
        run("cost", folder, f"memory://{request.node.nodeid}", split="test")


def test_ranking_follows_its_own_accuracies_and_keeps_the_full_data(request, folder, monkeypatch):
    monkeypatch.setattr(
        "study.evaluation.full_data.FULL_DATA",
        EvaluationConfig(preset="course", num_epochs=4, num_seeds=2),
    )
    result, recorded = run("ranking", folder, f"memory://{request.node.nodeid}")
    assert_recorded(result, recorded)
    found = {(row["trained_on"], row["recipe"]): row["accuracy"] for row in result.rows}
    metrics = result.metrics
    assert metrics["ranking/hard_label_recovery"] == pytest.approx(
        found["whole data", "4 epochs"] - found["distilled", "hard labels"]
    )
    assert metrics["ranking/improvement_plain"] == pytest.approx(
        found["distilled", "not augmented"] - found["random real images", "not augmented"]
    )
    assert 0 < metrics["ranking/lrs"] < 1

    def fail(*_, **__):
        raise AssertionError("the whole data was trained on again")

    monkeypatch.setattr("study.evaluation.full_data.full_set", fail)
    again, _ = run("ranking", folder, f"memory://{request.node.nodeid}/again")
    assert again.metrics == metrics


@pytest.mark.parametrize(
    ("budget", "full_data", "epochs"),
    [("quick", None, 20), ("quick", True, 200), ("paper", None, 200), ("paper", False, 20)],
)
def test_ranking_trains_on_all_data_as_long_as_the_budget_or_the_user_says(budget, full_data, epochs):
    full = FullData(None, {}, EvaluationConfig(preset="course"))
    manifest = SimpleNamespace(config={"budget": budget})
    session = SimpleNamespace(
        options=EvaluateOptions(full_data=full_data),
        stored=SimpleNamespace(manifest=manifest),
        full_data=full,
    )
    assert full_data_of(session).num_epochs == epochs


def test_continual_compares_memories_stage_by_stage(request, folder):
    result, recorded = run(
        "continual", folder, f"memory://{request.node.nodeid}", overrides={"evaluation": {"num_steps": 10}}
    )
    assert_recorded(result, recorded)
    assert {row["memory"] for row in result.rows} == {"distilled", "herding", "random real images"}
    assert [step for step, _ in recorded.curves["continual/herding"]] == [2, 4, 6, 8, 10]
    assert result.metrics["continual/distilled_final"] == result.rows[4]["accuracy"]


def test_the_test_set_is_opened_once_and_for_a_reason(request, folder, monkeypatch, caplog):
    with caplog.at_level("INFO", logger="study.data.splits"):
        result, _ = run(
            "continual", folder, f"memory://{request.node.nodeid}", split="test",
            overrides={"evaluation": {"num_steps": 2}},
        )  # fmt: skip
    opened = [record.getMessage() for record in caplog.records if "test set opened" in record.getMessage()]
    assert len(opened) == 1
    assert "--protocol continual" in opened[0]
    assert result.split == "test"


def test_an_unknown_protocol_is_refused(folder):
    with pytest.raises(UnknownNameError, match="leakage"):
        evaluate(folder, EvaluateOptions(protocol="leackage"))
    assert {"architectures", "leakage", "noise", "cost", "ranking", "continual"} <= set(PROTOCOLS)


@pytest.mark.parametrize(("make", "copies"), [(real_set, 20), (noise_set, 0)])
def test_registration_states_copies_in_manifest_card_and_tags(context, tmp_path, request, make, copies):
    score = Score("accuracy", (0.5, 0.6))
    tracker = open_tracker(f"memory://{request.node.nodeid}")
    run = tracker.start_run("digits-ipc2", "trial")
    chosen = TrialResult(
        run_id=run.run_id, synthetic=make(context), score=score, start_score=score, random=score,
        relative_change=0.0, objectives={"accuracy": score.mean},
    )  # fmt: skip
    done = register_winner(tracker, context, chosen, Callback(), origin="a test", output=tmp_path / "copy")
    manifest = read_set(tmp_path / "copy").manifest
    card = (tmp_path / "copy" / "README.md").read_text()
    assert manifest.leakage is not None
    assert (manifest.leakage.num_near_copies, manifest.leakage.num_images) == (copies, 20)
    assert done.near_copies == copies
    assert tracker.resolve_set(done.set).tags["near_copies"] == str(copies)
    assert ("**Warning: 20 of 20 images are near copies" in card) == bool(copies)
    assert ("None of the 20 images is a near copy" in card) == (not copies)


def test_a_manifest_without_a_leakage_check_is_still_read():
    plain = Manifest(name="x", dataset="digits", method="dm").plain()
    plain.pop("leakage")
    assert parse_manifest(json.dumps(plain), "manifest.json").leakage is None
