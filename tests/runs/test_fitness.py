"""Which set may be ``best``, and which finalist wins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from study.core.records import Score, SyntheticSet
from study.data.preprocess import Preprocessing
from study.evaluation.architectures import CrossScore
from study.runs.catalog.sets import download_set, load_set
from study.runs.config.configure import Request, configure
from study.runs.context.stores import StoreOptions, open_tracking
from study.runs.registration.fitness import Fitness, judge
from study.runs.registration.results import TrialResult
from study.runs.trials.finalists import choose
from study.runs.tune import tune
from study.search.config import SearchConfig
from study.sets.files import CARD_NAME
from study.sets.pixels import PixelRecord

SANE = PixelRecord(low=-0.1, high=1.1, clipped=0.02, far=0.0)
RANDOM = {"mlp": 0.7, "lenet": 0.5, "mean": 0.6, "worst": 0.5}


def test_a_set_that_serves_its_own_network_alone_is_not_fit() -> None:
    found = judge({"mlp": 0.9, "lenet": 0.1, "mean": 0.5, "worst": 0.1}, RANDOM, SANE, 0.5)
    assert not found.fit
    assert "50.0 % does not beat random real images, 60.0 %" in found.words
    assert found.warnings == ("no better than random real images for lenet (10.0 %, random 50.0 %)",)
    named = judge({"mlp": 0.9, "lenet": 0.1, "mean": 0.5, "worst": 0.1}, RANDOM, SANE, 0.5, "own")
    assert named.fit, "the search asks for its own network by name"
    assert "does not beat" in named.warnings[0]


def test_what_beats_random_images_everywhere_is_fit() -> None:
    assert judge({"mlp": 0.9, "mean": 0.9, "worst": 0.9}, RANDOM, SANE, 0.5) == Fitness()
    assert judge({}, {}, SANE, 0.5).fit, "nobody measured other networks"


def test_pixels_and_movement_are_judged() -> None:
    wild = PixelRecord(low=-47.0, high=84.0, clipped=0.9, far=0.7)
    assert "70.0 % of its pixels lie outside -3 to 4" in judge({}, {}, wild, 0.5).words
    assert judge({}, {}, SANE.model_copy(update={"clipped": 0.8}), 0.5) == Fitness(), (
        "usual, and stated elsewhere"
    )
    assert judge({}, {}, SANE, 12.0).warnings == ("its images moved by 12.0 times the norm of their start",)


def test_pixels_are_counted_with_the_normalisation_undone() -> None:
    images = torch.tensor([[[[-4.0, 0.0], [1.0, 11.0]]]])  # pixels -1.5, 0.5, 1.0, 6.0
    found = PixelRecord.of(images, Preprocessing("standard", (1, 2, 2), (0.5,), (0.5,)))
    assert (found.low, found.high) == (-1.5, 6.0)
    assert (found.clipped, found.far) == (0.5, 0.25)
    assert found.note == "50.0 % of pixels clipped"


def finalist(trial: int, values: tuple[float, ...], cross: float | None, *faults: str) -> TrialResult:
    score = Score("accuracy", values)
    others = None if cross is None else CrossScore({"mlp": Score("accuracy", (cross,))}, "convnet")
    return TrialResult(
        run_id="r", trial=trial, synthetic=SyntheticSet(torch.zeros(2, 1, 2, 2), torch.arange(2), ("0", "1")),
        score=score, start_score=score, random=score, relative_change=0.5, objectives={"accuracy": score.mean},
        cross=others, fitness=Fitness(tuple(faults)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("finalists", "chosen", "words"),
    [
        ([finalist(0, (0.9, 0.9), 0.5), finalist(1, (0.8, 0.8), 0.9)], 0, ""),
        ([finalist(0, (0.9, 0.8), 0.5), finalist(1, (0.8, 0.8), 0.9)], 1, "alike within that deviation"),
        ([finalist(0, (0.9, 0.9), 0.1, "wild"), finalist(1, (0.5, 0.5), 0.9)], 1, "not fit to be best: wild"),
        ([finalist(0, (0.9, 0.9), 0.1, "wild"), finalist(1, (0.5, 0.5), 0.9, "too")], 0, ""),
        ([finalist(3, (0.9, 0.9), None), finalist(1, (0.9, 0.9), None)], 1, ""),
    ],
)
def test_fit_ones_win_and_ties_go_to_other_architectures(
    finalists: list[TrialResult], chosen: int, words: str
) -> None:
    winner, why = choose(finalists, SearchConfig())
    assert winner.trial == chosen
    assert words in why if words else why == ""


def test_an_unfit_set_is_registered_with_its_reasons_and_never_best(tmp_path: Path) -> None:
    root = tmp_path / "mlruns"
    # A rate that blows images up.
    wild = {"distill": {"image_lr": 300.0}, "search": {"num_cross_seeds": 1}}
    request = Request("dm", "digits", 1, "smoke", overrides=wild, space={"distill.image_lr": None})
    result = tune(configure(request), StoreOptions(root=root), num_trials=1)
    assert not result.winner.fitness.fit
    assert not result.winner.is_best
    assert "no set is best" in result.winner.note
    registered = open_tracking(StoreOptions(root=root)).list_sets("digits-dm-ipc1")
    assert [list(version.aliases) for version in registered] == [[]]
    assert registered[0].tags["fit"].startswith("no: ")
    stored = load_set(result.winner.set, StoreOptions(root=root))
    assert stored.manifest.faults == result.winner.fitness.faults
    assert stored.manifest.pixels is not None
    assert stored.manifest.pixels.far > 0.01
    download_set(result.winner.set, tmp_path / "mine", StoreOptions(root=root))
    assert "Not fit to be `best`" in (tmp_path / "mine" / CARD_NAME).read_text(encoding="utf-8")
    # A sane one takes the alias.
    sane = tune(configure(Request("dm", "digits", 1, "smoke")), StoreOptions(root=root), num_trials=1)
    assert sane.winner.is_best
