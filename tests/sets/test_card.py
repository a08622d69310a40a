from __future__ import annotations

import re

import pytest

from study.sets.card import render_card
from study.sets.files import read_set
from study.sets.manifest import ScoreRecord

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
        "| this set | validation | accuracy | 82.00 | 1.00 | 3 |  |",
        "| this set | test | accuracy | 81.23 | 1.23 | 5 | 0.9100 |",
        "| random real images | test | accuracy | 61.00 | 4.00 | 5 |  |",
    ]
    assert "ddof 1" in card


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
