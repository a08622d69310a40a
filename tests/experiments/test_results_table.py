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
    assert table.with_table(readme, ROOT / "experiments" / "results") == readme


def test_a_row_gives_percent_and_minutes(table: ModuleType, tmp_path: Path) -> None:
    test, random = ({"mean": 0.9114, "std": 0.0126, "n": 4}, {"mean": 0.5, "std": 0.01, "n": 4})
    card = {"manifest": {"scores": {"test": test, "random_test": random}}}
    (tmp_path / "mnist_pad_ipc5.json").write_text(json.dumps(card))
    (tmp_path / "mnist_pad_ipc5_search.json").write_text(json.dumps({"runs": [{"seconds": 200.0}]}))
    assert table.rows(tmp_path) == ["| `mnist`, 5 a class | `pad` | 91.1 ± 1.3 | 50.0 ± 1.0 | 4 | 3 min |"]


def test_a_page_without_the_table_is_refused(table: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 tables"):
        table.with_table("# A page\n", tmp_path)
