"""Wherever a search states random real images and its winner's scores, they are the same numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from study.cli.app import app
from study.core.words import percent
from study.runs.context.stores import StoreOptions, open_tracking

SEARCH = ("num_random_seeds=4", "num_finalists=2", "num_cross_seeds=3", "pruner=none")
SETTINGS = [word for setting in SEARCH for word in ("--set", f"search.{setting}")]


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("agree")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        words = ["tune", "-m", "dm", "--budget", "smoke", *SETTINGS]
        shown = run(*words, "--name", "one").output
        # The same search again, as JSON: same seed, same bytes, and the same baseline from the cache.
        plain = json.loads(run(*words, "--name", "two", "--json").stdout)
        evaluated = json.loads(
            run("evaluate", "digits-dm-ipc1/2", "--pool", "quick", "--seeds", "2", "--json").stdout
        )
        run("sets", "download", "digits-dm-ipc1/2", "--output", "mine")
        tracker = open_tracking(StoreOptions(root=Path("mlruns")))
        runs = tracker.find_runs(tags={"study.search": "two"})
        parent = next(run for run in runs if run.tags["study.kind"] == "search")
        page = tracker.download(parent.run_id, "compare.html", folder).read_text(encoding="utf-8")
        table = json.loads(tracker.download(parent.run_id, "trials.json", folder).read_text(encoding="utf-8"))
    return folder, shown, plain, evaluated, runs, parent, page, table


def test_random_images_have_one_score(searched: Any) -> None:
    folder, shown, plain, evaluated, runs, _parent, page, _ = searched
    random = plain["random"]
    mean, std, n = random["val_accuracy"], random["val_accuracy_std"], random["n"]
    assert n == 4
    for run_ in runs:
        if "random/val_accuracy" in run_.metrics:
            found = [
                run_.metrics[f"random/{key}"] for key in ("val_accuracy", "val_accuracy_std", "num_seeds")
            ]
            assert found == pytest.approx([mean, std, n])
    manifest = json.loads((folder / "mine" / "manifest.json").read_text(encoding="utf-8"))
    record = manifest["scores"]["random_validation"]
    assert (record["mean"], record["std"], record["n"]) == pytest.approx((mean, std, n))
    own = next(row for row in evaluated["rows"] if row["own"])
    assert (own["random"], own["random_std"], own["random_n"]) == pytest.approx((mean, std, n))
    words = percent(mean, std)
    assert words in shown
    assert words in page
    card = (folder / "mine" / "README.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| random real images | validation"))
    assert row.split(" | ")[3:6] == [f"{100 * mean:.1f}", f"{100 * std:.1f}", f"{n} |"]


def test_random_images_have_one_score_on_other_architectures(searched: Any) -> None:
    folder, _, plain, evaluated, _, parent, _, _ = searched
    manifest = json.loads((folder / "mine" / "manifest.json").read_text(encoding="utf-8"))
    for name in ("mlp", "lenet"):
        stated = plain["random"]["cross"]["models"][name]
        row = next(row for row in evaluated["rows"] if row["model"] == name)
        assert (row["random"], row["random_std"], row["random_n"]) == pytest.approx(tuple(stated.values()))
        assert manifest["cross"]["random"][name] == pytest.approx(stated["mean"])
        assert manifest["cross"]["random_std"][name] == pytest.approx(stated["std"])
        assert parent.metrics[f"random/cross_{name}"] == pytest.approx(stated["mean"])
    assert manifest["cross"]["random_n"] == 4


def test_the_winner_has_one_score(searched: Any) -> None:
    folder, shown, plain, _, _, parent, _, table = searched
    winner = plain["winner"]
    manifest = json.loads((folder / "mine" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["scores"]["validation"]["mean"] == pytest.approx(winner["val_accuracy"])
    assert manifest["scores"]["test"]["mean"] == pytest.approx(winner["test_accuracy"])
    assert manifest["cross"]["distilled"]["mean"] == pytest.approx(winner["cross"]["mean"])
    assert manifest["cross"]["n"] == winner["cross"]["models"]["mlp"]["n"] == 3
    for key in ("val", "test"):
        pair = [parent.metrics[f"{key}/accuracy"], parent.metrics[f"{key}/accuracy_std"]]
        assert pair == pytest.approx([winner[f"{key}_accuracy"], winner[f"{key}_accuracy_std"]])
        assert percent(*pair) in shown
    assert parent.metrics["cross/mean"] == pytest.approx(winner["cross"]["mean"])
    again = next(row for row in plain["finalists"] if row["chosen"])
    assert again["trial"] == winner["trial"]
    assert again["val_accuracy"] == pytest.approx(winner["val_accuracy"])
    columns = table["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in table["data"]]
    assert rows[winner["trial"]]["finalist_val_accuracy"] == pytest.approx(winner["val_accuracy"])
    assert rows[winner["trial"]]["finalist_chosen"] is True


def test_the_finalist_round_is_told(searched: Any) -> None:
    _, shown, plain, _, _, parent, page, _ = searched
    assert len(plain["finalists"]) == 2
    assert "finalists, validation" in shown
    assert re.search(
        rf"trial {plain['winner']['trial']} was chosen: highest accuracy of 2 best trials", shown
    )
    assert plain["choice"] in page
    assert parent.tags["study.choice"] == plain["choice"]
