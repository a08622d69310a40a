"""Sets from elsewhere whose score is not what their manifest says: what is told, and the cause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import study
from study.core.records import SyntheticSet
from study.data.preprocess import Preprocessing
from study.sets.files import StoredSet, read_set, write_set

ASKED = {"seeds": 3, "pool": "none", "full_data": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of real digits that scores far above chance."""
    folder = tmp_path_factory.mktemp("made")
    study.distill(
        "random", "digits", ipc=5, budget="smoke", output=folder / "set", tracking_uri=str(folder / "mlruns"),
        # Networks with an instance norm would forgive images in another range.
        settings={"evaluation.num_steps": 100, "evaluation.lr": 0.2, "model.name": "mlp"},
    )  # fmt: skip
    return folder / "set"


def rewritten(
    stored: StoredSet, folder: Path, *, preprocessing: Preprocessing | None = None, **changes: object
) -> str:
    """The same set as somebody else would write it, with the manifest of the first."""
    synthetic: SyntheticSet = replace(stored.synthetic, **changes)  # type: ignore[arg-type]
    write_set(folder, synthetic, stored.manifest, preprocessing or stored.preprocessing)
    return str(folder)


def told(folder: str, tmp_path: Path, **more: object) -> list[str]:
    found = study.evaluate(folder, tracking_uri=str(tmp_path / "mlruns"), **{**ASKED, **more})  # type: ignore[arg-type]
    return [note for note in found.notes if note.startswith("expected ")]


def test_nothing_is_said_of_a_set_that_scores_as_expected(made: Path, tmp_path: Path) -> None:
    assert told(str(made), tmp_path) == []


def test_images_in_plain_pixels(made: Path, tmp_path: Path) -> None:
    stored = read_set(made)
    pixels = stored.preprocessing.invert(stored.images).clamp(0, 1)
    (note,) = told(rewritten(stored, tmp_path / "set", images=pixels * 255), tmp_path)
    expected = stored.manifest.scores["validation"]
    assert note.startswith(
        f"expected {100 * expected.mean:.1f} ± {100 * expected.std:.1f} % (n = {expected.n}) as its"
    )
    assert "likely cause: normalisation (images lie in 0 to 255, as pixels do" in note


def test_labels_that_were_shuffled(made: Path, tmp_path: Path) -> None:
    stored = read_set(made)
    (note,) = told(rewritten(stored, tmp_path / "set", images=stored.images.roll(15, 0)), tmp_path)
    assert "likely cause: labels (" in note
    assert "nearest to the real ones of their class" in note


def test_another_whitening(made: Path, tmp_path: Path) -> None:
    stored = read_set(made)
    eye = torch.eye(64)
    zca = Preprocessing("zca", (1, 8, 8), zca_mean=torch.zeros(1, 8, 8), zca_matrix=eye, zca_epsilon=0.1)
    folder = rewritten(stored, tmp_path / "set", preprocessing=zca, images=-stored.images)
    (note,) = told(folder, tmp_path)
    assert "likely cause: ZCA (preprocessing 'zca' in the set, 'standard' of the real images here)" in note


def test_another_rate(made: Path, tmp_path: Path) -> None:
    (note,) = told(str(made), tmp_path, settings={"evaluation.lr": 1e-6})
    assert "likely cause: learning rate (1e-06 here, " in note
