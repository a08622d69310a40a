from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_table", ROOT / "experiments" / "results_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_what_the_result_files_hold(table: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.with_tables(readme, ROOT / "experiments" / "results") == readme


def test_a_row_gives_percent_and_minutes(table: ModuleType, tmp_path: Path) -> None:
    test, random = ({"mean": 0.9114, "std": 0.0126, "n": 4}, {"mean": 0.5, "std": 0.01, "n": 20})
    cross = {"distilled": {"mean": 0.8, "mlp": 0.8}, "random": {"mean": 0.6, "mlp": 0.6}, "n": 3}
    card = {"manifest": {"scores": {"test": test, "random_test": random}, "cross": cross}}
    (tmp_path / "mnist_pad_ipc5.json").write_text(json.dumps(card))
    (tmp_path / "mnist_pad_ipc5_search.json").write_text(json.dumps({"runs": [{"seconds": 200.0}]}))
    assert table.rows(tmp_path) == [
        "| `mnist`, 5 a class | `pad` | 91.1 ± 1.3 | 50.0 ± 1.0 | 4, 20 | 80.0, 60.0 | 3 min |"
    ]
    del card["manifest"]["cross"]
    (tmp_path / "mnist_pad_ipc5.json").write_text(json.dumps(card))
    assert " | - | 3 min |" in table.rows(tmp_path)[0], "searches of older versions"


def test_a_quick_row_gives_percent_and_seconds_and_leaves_out_what_failed(
    table: ModuleType, tmp_path: Path
) -> None:
    scores = {"test": {"mean": 0.7, "std": 0.01, "n": 3}, "random_test": {"mean": 0.6, "std": 0.02, "n": 3}}
    ended = {
        "dataset": "ragged",
        "method": "dm",
        "ipc": 1,
        "search": scores | {"first_iteration_seconds": 6.6, "seconds": 91.4},
    }
    failed = {"dataset": "digits", "method": "dm", "ipc": 1, "search": {"problem": "too slow"}}
    (tmp_path / "any_data_zen4.json").write_text(json.dumps({"rows": [ended, failed, {"dataset": "mnist"}]}))
    line = "| `ragged`, 1 a class | `dm` | 70.0 ± 1.0 | 60.0 ± 2.0 | 3 | 7 s | 91 s |"
    assert table.quick_rows(tmp_path) == [line]


def test_a_page_without_the_table_is_refused(table: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 tables"):
        table.with_tables("# A page\n", tmp_path)
