"""The README's table of results, written from the files in ``experiments/results/``; nothing in it is typed by hand.

python experiments/results_table.py          # print the table
python experiments/results_table.py --write  # put it into README.md
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
METHODS = ("dm", "datadam", "dsa", "mtt", "datm", "pad", "dd")
DATASETS = ("digits", "mnist")
HEAD = "| data | method | distilled | random real images | n | search |\n|---|---|---|---|---|---|\n"
TABLE = re.compile(r"\| data \| method \| distilled .*?\n(?=\n)", re.DOTALL)


def rows(results: Path) -> list[str]:
    """A line for every search whose set and run are both there, by dataset, size and method."""
    found = []
    for path in results.glob("*_ipc*_search.json"):
        parts = re.fullmatch(r"([a-z]+)_([a-z]+)_ipc(\d+)", path.stem.removesuffix("_search"))
        if parts and parts[1] in DATASETS and parts[2] in METHODS:
            key = (DATASETS.index(parts[1]), int(parts[3]), METHODS.index(parts[2]))
            found.append((key, path))
    return [_row(path, *key) for key, path in sorted(found)]


def _row(search: Path, dataset: int, ipc: int, method: int) -> str:
    card = json.loads((search.parent / search.name.replace("_search", "")).read_text(encoding="utf-8"))
    scores, run = card["manifest"]["scores"], json.loads(search.read_text(encoding="utf-8"))["runs"][0]
    cells = [
        f"`{DATASETS[dataset]}`, {ipc} a class",
        f"`{METHODS[method]}`",
        _percent(scores["test"]),
        _percent(scores["random_test"]),
        str(scores["test"]["n"]),
        f"{run['seconds'] / 60:.0f} min",
    ]
    return f"| {' | '.join(cells)} |"


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"


def with_table(readme: str, results: Path) -> str:
    """The README with its table made anew.

    Raises:
        ValueError: it has no table of results.
    """
    table = HEAD + "".join(f"{row}\n" for row in rows(results))
    changed, count = TABLE.subn(table, readme)
    if count != 1:
        raise ValueError(f"README.md holds {count} tables of results; expected 1")
    return changed


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="change README.md")
    path, results = ROOT / "README.md", ROOT / "experiments" / "results"
    if parser.parse_args().write:
        path.write_text(with_table(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    else:
        print(HEAD + "\n".join(rows(results)))


if __name__ == "__main__":
    main()
