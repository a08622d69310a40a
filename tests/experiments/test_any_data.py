from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """``module("any_data")`` imports a benchmark."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_both_commands_are_timed_from_a_cold_start_and_measured_once(
    tmp_path: Path, run_benchmark: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "figures.json"
    words = "--methods dm --datasets digits --ipc 1 --budget smoke"
    run_benchmark("any_data", f"{words} --dry-run-only", output)
    (row,) = json.loads(output.read_text())["rows"]
    assert "search" not in row
    run_benchmark("any_data", f"{words} --resume", output)
    (full,) = json.loads(output.read_text())["rows"]
    assert full["dry_run"] == row["dry_run"], "what is there is not measured again"
    search = full["search"]
    assert (full["dry_run"]["problem"], search["problem"]) == (None, None)
    assert 0 < search["phases"][0]["seconds"] < search["first_iteration_seconds"] < search["seconds"]
    assert [phase["text"] for phase in search["phases"][:2]] == ["starting", "loading digits"]
    assert (search["test"]["n"], search["metric"], search["trials_finished"]) == (2, "accuracy", 2)
    assert search["beats_random"] == (search["test"]["mean"] > search["random_test"]["mean"])
    assert full["dry_run"]["estimated_seconds"] > 0
    assert 0 < search["cost"]["distill"] < sum(search["cost"].values()) < search["seconds"]
    assert "shares_updated" not in search
    run_benchmark("any_data", "--methods mtt --datasets digits --ipc 1 --budget smoke --resume", output)
    shares = json.loads(output.read_text())["rows"][1]["search"]["shares_updated"]
    assert len(shares) == 2
    assert all(0 <= share <= 1 for share in shares)
    before = output.read_bytes()
    capsys.readouterr()
    run_benchmark("any_data", f"{words} --resume", output)
    assert output.read_bytes() == before
    printed = capsys.readouterr().out
    assert "| digits | 1 | dm |" in printed
    assert "better than random real images: " in printed


def test_figures_are_neither_overwritten_nor_mixed(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    output, any_data = tmp_path / "figures.json", module("any_data")
    any_data.write(output, {"budget": "quick", "rows": []})
    options = any_data.argparse.Namespace(output=output, budget="quick", resume=False)
    with pytest.raises(SystemExit, match="exists; give --resume"):
        any_data.load(options)
    options.resume = True
    assert any_data.load(options)["rows"] == []
    options.budget = "smoke"
    with pytest.raises(SystemExit, match="holds budget 'quick'; --budget is 'smoke'"):
        any_data.load(options)


def test_rows_are_held_to_what_was_promised(module: Callable[[str], ModuleType]) -> None:
    any_data = module("any_data")
    score = {"mean": 0.9, "std": 0.01, "n": 3}
    search = {"seconds": 290.0, "problem": None, "first_iteration_seconds": 50.0, "test": score,
              "random_test": score, "beats_random": False}  # fmt: skip
    plan = {"seconds": 10.0, "problem": None, "estimated_seconds": 200.0}
    key = {"dataset": "digits", "method": "dm", "ipc": 1, "limit_seconds": 300.0}
    stopped = {"seconds": 900.0, "problem": "stopped after 900 s", "first_iteration_seconds": None}
    rows = [
        key | {"search": search, "dry_run": plan},
        key
        | {"search": search | {"seconds": 310.0, "beats_random": True}, "dry_run": plan | {"seconds": 21.0}},
        key | {"search": stopped | {"shares_updated": [0.95, 0.85]}, "dry_run": plan},
        key | {"dry_run": plan | {"problem": "exit code 2: Error: no"}},
    ]
    assert [line.split(": ")[1].split(" (")[0] for line in any_data.verdicts(rows)] == [
        "2 of 3", "1 of 3", "1 of 3", "2 of 4", "1 of 2", "1 of 2",
    ]  # fmt: skip
    lines = any_data.table(rows).splitlines()
    assert lines[2] == "| digits | 1 | dm | 50 | 290 | 90.0 ± 1.0 | 90.0 ± 1.0 | 3 | NO | 10 | 200 | 1.45 |"
    assert lines[4] == "| digits | 1 | dm | - | 900 | stopped after 900 s | - | - | - | 10 | 200 | - |"


def test_a_command_has_none_of_the_users_settings(
    module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STUDY_DATA", "MLFLOW_TRACKING_URI", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "theirs")
    code = (
        "import json, os, tempfile; print(json.dumps({**os.environ, 'here': os.listdir(), "
        "'temporary': tempfile.gettempdir(), 'folder': os.getcwd()}))"
    )
    seen = module("cold_start").run_cold(code, [], 60).answer()
    assert "theirs" not in seen.values()
    assert seen["here"] == ["tmp"]
    for key in ("STUDY_CACHE", "temporary"):
        assert Path(seen[key]).parent == Path(seen["folder"])
    assert not Path(seen["folder"]).exists(), "it is removed"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_what_takes_too_long_is_ended_with_all_it_started(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time; words = [sys.executable, '-c', 'import time; time.sleep(60)']; "
        f"process = subprocess.Popen(words); open({str(child)!r}, 'w').write(str(process.pid)); time.sleep(60)"
    )
    ended = module("cold_start").run_cold(code, [], 3)
    assert ended.problem == "stopped after 3 s"
    assert ended.answer() == {}
    assert 3 <= ended.seconds < 30
    process = int(child.read_text())
    deadline = time.monotonic() + 10
    while _is_running(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_running(process)


def test_a_command_that_fails_says_why(module: Callable[[str], ModuleType]) -> None:
    ended = module("cold_start").run_cold("import sys; sys.exit('Error: no such data')", [], 60)
    assert ended.problem == "exit code 1: Error: no such data"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    # A process that is dead but whose parent has not asked yet is not running.
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
