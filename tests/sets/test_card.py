from __future__ import annotations

import re

import pytest
import torch

from study.core.records import StepSchedule, SyntheticSet
from study.data.preprocess import Preprocessing
from study.sets.card import render_card
from study.sets.files import read_set, write_set
from study.sets.manifest import Manifest, ScoreRecord

SCORES = {
    "test": ScoreRecord(metric="accuracy", mean=0.8123, std=0.0123, n=5, extra={"auc": 0.91}),
    "validation": ScoreRecord(metric="accuracy", mean=0.82, std=0.01, n=3),
    "random_test": ScoreRecord(metric="accuracy", mean=0.61, std=0.04, n=5),
}


def code_blocks(card):
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["standard", "zca", "none"])
def test_the_code_on_the_card_runs_where_the_card_lies(tmp_path, monkeypatch, set_factory, soft, kind):
    folder = set_factory(tmp_path / "set", soft=soft, kind=kind, evaluation={"num_steps": 3, "lr": 0.01})
    monkeypatch.chdir(folder)
    setup, plain, with_study = code_blocks((folder / "README.md").read_text())
    names: dict = {}
    exec(setup, names)
    before = [parameter.detach().clone() for parameter in names["network"].parameters()]
    for block in (plain, with_study):
        exec(block, names)
        after = list(names["network"].parameters())
        assert any(not bool((old == new).all()) for old, new in zip(before, after, strict=True))
        before = [parameter.detach().clone() for parameter in after]


def scheduled_folder(folder, *, seed=None, soft=False, **manifest):
    """A set of two images and two steps, the second twice as large as the first."""
    schedule = StepSchedule(torch.tensor([[0, 1], [1, 0]]), torch.tensor([0.25, 0.5]), seed)
    synthetic = SyntheticSet(
        torch.arange(32.0).view(2, 1, 4, 4) / 32, torch.tensor([0, 1]), ("no", "yes"),
        logits=torch.eye(2) if soft else None, schedule=schedule,
    )  # fmt: skip
    facts = {"name": "toy", "dataset": "toy", "method": "dd", "scores": {"test": SCORES["test"]}, **manifest}
    write_set(folder, synthetic, Manifest(**facts), Preprocessing("none", (1, 4, 4)))
    return folder


@pytest.mark.parametrize("soft", [False, True])
def test_the_code_on_the_card_of_a_schedule_replays_it(tmp_path, monkeypatch, soft):
    monkeypatch.chdir(scheduled_folder(tmp_path / "set", soft=soft))
    setup, plain, with_study = code_blocks((tmp_path / "set" / "README.md").read_text())
    found = []
    for block in (plain, with_study):
        names: dict = {}
        exec(setup, names)
        with torch.no_grad():
            for parameter in names["network"].parameters():
                parameter.fill_(0.1)
        exec(block, names)
        found.append(torch.cat([parameter.detach().flatten() for parameter in names["network"].parameters()]))
    stored = read_set(tmp_path / "set")
    weight, bias = torch.full((2, 16), 0.1), torch.full((2,), 0.1)
    targets = torch.eye(2).softmax(1) if soft else torch.eye(2)
    for size in (0.25, 0.5):
        pixels = stored.images.flatten(1)
        error = ((pixels @ weight.T + bias).softmax(1) - targets) / 2
        weight, bias = weight - size * error.T @ pixels, bias - size * error.sum(0)
    for parameters in found:
        torch.testing.assert_close(parameters, torch.cat([weight.flatten(), bias]), atol=1e-6, rtol=1e-5)


def test_a_replay_and_what_stands_beside_it_are_stated(tmp_path):
    card = (scheduled_folder(tmp_path / "random") / "README.md").read_text()
    for fact in (
        "2 plain gradient steps on 2 images each",
        "freshly drawn at random",
        "random real images follow",
    ):
        assert fact in card, fact
    assert "no deviation" not in card
    fixed = (scheduled_folder(tmp_path / "fixed", seed=7) / "README.md").read_text()
    assert "CPU generator with seed 7" in fixed
    assert "no deviation" in fixed
    aside = scheduled_folder(tmp_path / "aside", evaluation={"use_schedule": False})
    assert "random real images follow" not in (aside / "README.md").read_text()


def test_training_on_the_card_takes_three_lines(tmp_path, set_factory):
    _, plain, with_study = code_blocks((set_factory(tmp_path / "set") / "README.md").read_text())
    for block in (plain, with_study):
        lines = [line for line in block.splitlines() if line and not line.startswith(("import", "from"))]
        assert len(lines) <= 3


def test_scores_stand_beside_their_baseline(tmp_path, set_factory):
    folder = set_factory(
        tmp_path / "set", scores={key: record.model_dump() for key, record in SCORES.items()}
    )
    card = (folder / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert rows[0] == "| trained on | scored on | metric | mean | std | n | auc |"
    assert rows[2:] == [
        "| this set | validation | accuracy | 82.0 | 1.0 | 3 |  |",
        "| this set | test | accuracy | 81.2 | 1.2 | 5 | 0.9100 |",
        "| random real images | test | accuracy | 61.0 | 4.0 | 5 |  |",
    ]
    assert "ddof 1" in card


def test_other_architectures_stand_beside_random_images(tmp_path, set_factory):
    cross = {"n": 2, "distilled": {"mlp": 0.8, "lenet": 0.61, "mean": 0.705, "worst": 0.61},
             "random": {"mlp": 0.7, "mean": 0.7, "worst": 0.7},
             "distilled_std": {"mlp": 0.01}, "random_std": {"mlp": 0.03}, "random_n": 20}  # fmt: skip
    folder = set_factory(tmp_path / "set", cross=cross, evaluation={"model": {"name": "convnet"}})
    card = (folder / "README.md").read_text()
    section = card.split("## On other architectures")[1].split("##")[0]
    assert [line for line in section.splitlines() if line.startswith("|")][2:] == [
        "| mlp | 80.0 ± 1.0 | 70.0 ± 3.0 |",
        "| lenet | 61.0 |  |",
        "| mean of these | 70.5 | 70.0 |",
        "| worst of these | 61.0 | 70.0 |",
    ]
    assert "n = 2 networks" in section
    assert "n = 20 for random real images" in section
    assert "more from this set than from as many random real images: mlp." in card
    assert "distilled with convnet" in section
    assert read_set(folder).manifest.cross.distilled == cross["distilled"]
    assert "other architectures" not in (set_factory(tmp_path / "plain") / "README.md").read_text()


def test_all_training_images_are_a_row_with_a_recipe_of_their_own(tmp_path, set_factory):
    scores = {key: record.model_dump() for key, record in SCORES.items()}
    whole = {
        "num_images": 54000,
        "num_epochs": 4,
        "scores": {"validation": {**scores["validation"], "mean": 0.991}},
    }
    card = (set_factory(tmp_path / "set", scores=scores, full_data=whole) / "README.md").read_text()
    assert "| all 54,000 training images, 4 epochs | validation | accuracy | 99.1 | 1.0 | 3 |  |" in card
    assert "have a recipe of their own" in card


def test_a_test_set_that_was_not_opened_is_said(tmp_path, set_factory):
    scores = {"validation": SCORES["validation"].model_dump()}
    assert "test was not opened" in (set_factory(tmp_path / "set", scores=scores) / "README.md").read_text()


def test_provenance_recipe_and_licence_are_there(tmp_path, set_factory):
    folder = set_factory(
        tmp_path / "set", soft=True, dataset_licence="CC BY 4.0", dataset_fingerprint="f00d", git_commit="abc-dirty",
        origin_run_id="r1", versions={"study": "0.1.0"}, seeds={"root": 7},
        evaluation={"preset": "quick", "num_steps": 300, "model": {"name": "convnet", "width": 128}},
    )  # fmt: skip
    card = (folder / "README.md").read_text()
    for fact in ("CC BY 4.0", "f00d", "abc-dirty", "r1", "study 0.1.0", "root 7", "preset quick",
                 "name convnet, width 128", "learned step size 0.03", "preview.png", "softmax"):  # fmt: skip
        assert fact in card, fact


def test_normalisation_on_the_card_is_the_one_of_the_set(tmp_path, set_factory):
    folder = set_factory(tmp_path / "set")
    stored = read_set(folder)
    assert f"({stored.preprocessing.mean[0]:.6g})" in render_card(stored.manifest)
