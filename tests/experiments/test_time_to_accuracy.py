"""The benchmark of time to accuracy runs, scores all sides alike, and never turns a bound into a time."""

from __future__ import annotations

import itertools
import json
import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "benchmarks" / "time_to_accuracy.py"
SMALL = (
    "--dataset digits --ipc 1 --max-iterations 6 --first 3 --growth 1.5 --score-width 8 --score-networks 1 "
    "--score-steps 5 --device cpu --plain model.width=8 --set model.width=8 --repetitions 2"
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the script defines."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("method", ["dm", "datadam"])
def test_sides_share_start_and_protocol(
    method: str, tmp_path: Path, run_benchmark: Callable[..., None]
) -> None:
    output = tmp_path / "figures.json"
    variants = "--ours one --ours two:distill.image_steps=2,distill.batch_real=8 --targets 0.0 1.0"
    run_benchmark("time_to_accuracy", f"--method {method} {SMALL} {variants}", output)
    result = json.loads(output.read_text())
    assert [list(repetition) for repetition in result["repetitions"]] == [["plain", "one", "two"]] * 2
    for repetition in result["repetitions"]:
        one, two = repetition["one"], repetition["two"]
        assert [point["iteration"] for point in two["curve"]] == [0, 3, 5]
        assert one["curve"][0]["mean"] == two["curve"][0]["mean"]
        assert [point["iteration"] for point in repetition["plain"]["curve"]] == [3, 5]
        assert all(
            side["stopped"] == "no more than 6 iterations were asked for" for side in repetition.values()
        )
        seconds = [point["seconds"] for point in two["curve"]]
        assert seconds == sorted(seconds)
        assert two["reached"]["0.0"] == two["curve"][0]
    starts = [repetition["one"]["curve"][0] for repetition in result["repetitions"]]
    assert starts[0] != starts[1]
    settings = result["settings"]
    assert settings["two"]["distill"]["image_steps"] == 2 * settings["one"]["distill"]["image_steps"]
    assert settings["plain"]["distill"]["batch_real"] == (256 if method == "dm" else 64)
    assert (result["protocol"]["networks"], result["protocol"]["model"]["width"]) == (1, 8)
    nothing = result["summary"]["1.0"]["two"]
    assert (nothing["reached"], nothing["of"], nothing["seconds"]) == (0, 2, None)
    assert nothing["more_than_seconds"] > 0
    assert "times_plain" not in nothing
    assert "commit" in result["machine"]


def points(*seconds: float | None, spent: float = 100.0) -> list[dict[str, Any]]:
    def side(reached: float | None) -> dict[str, Any]:
        point = None if reached is None else {"iteration": round(10 * reached), "seconds": reached}
        return {"seconds": spent, "reached": {"0.9": point}}

    return [side(reached) for reached in seconds]


def test_medians_and_ratios(script: dict[str, Any]) -> None:
    plain, ours = points(40.0, 60.0, 50.0), points(4.0, None, 5.0)
    repetitions = [{"plain": one, "ours": other} for one, other in zip(plain, ours, strict=True)]
    rows = script["summarise"](repetitions, [0.9])["0.9"]
    assert rows["plain"] | {"seconds": 50.0, "iterations": 500, "reached": 3, "of": 3} == rows["plain"]
    assert (rows["ours"]["seconds"], rows["ours"]["reached"]) == (5.0, 2)
    assert rows["ours"]["times_plain"] == pytest.approx(10.0)


def test_a_side_that_does_not_arrive_gives_a_bound(script: dict[str, Any]) -> None:
    plain, ours = points(40.0, None, None), points(4.0, 6.0, 5.0)
    repetitions = [{"plain": one, "ours": other} for one, other in zip(plain, ours, strict=True)]
    rows = script["summarise"](repetitions, [0.9])["0.9"]
    assert (rows["plain"]["seconds"], rows["plain"]["more_than_seconds"]) == (None, 100.0)
    assert "times_plain" not in rows["ours"]
    assert rows["ours"]["times_plain_at_least"] == pytest.approx(20.0)
    turned = [{"plain": one["ours"], "ours": one["plain"]} for one in repetitions]
    rows = script["summarise"](turned, [0.9])["0.9"]
    assert not {"times_plain", "times_plain_at_least"} & rows["ours"].keys()


def test_the_grid_grows_by_whole_iterations(script: dict[str, Any]) -> None:
    grid = script["geometric_grid"](1, 1.1, 100)
    assert grid[:4] == [0, 1, 2, 3]
    assert len(grid) == len(set(grid))
    assert grid[-1] <= 100
    assert all(b <= math.ceil(1.1 * a) + 1 for a, b in itertools.pairwise(grid[1:]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--ours a --ours a", "every side needs a name of its own"),
        ("--ours plain:distill.image_lr=2", "every side needs a name of its own"),
        ("--set distill.image_lrr=2", r"distill\.image_lrr"),
        ("--set data.preprocessing=zca", "sides see different data"),
    ],
)
def test_bad_input_is_one_line(
    words: str,
    message: str,
    script: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["time_to_accuracy.py", *SMALL.split(), *words.split()])
    assert script["main"]() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)
