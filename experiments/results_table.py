"""The README's tables of results, written from the files in ``experiments/results/``; nothing in them is typed by hand.

python experiments/results_table.py          # print the tables
python experiments/results_table.py --write  # put them into README.md
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
QUICK_DATASETS = ("digits", "pneumoniamnist", "ragged", "mnist", "mhist-layout", "cifar10-jpeg")
QUICK_FILE = "any_data_zen4.json"
SEARCHES = ("data", "method", "distilled", "random real images", "n", "other networks: set, random", "search")
QUICK = ("data", "method", "distilled", "random real images", "n", "first iteration", "search")


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
    return _line(
        *_what(DATASETS[dataset], ipc, METHODS[method]),
        *_scores(scores["test"], scores["random_test"]),
        _others(card["manifest"].get("cross")),
        f"{run['seconds'] / 60:.0f} min",
    )


def quick_rows(results: Path) -> list[str]:
    """A line for every quick search from an empty cache that ended, by dataset, size and method."""
    path = results / QUICK_FILE
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    ended = [row for row in known if "test" in row.get("search", {})]
    ended.sort(
        key=lambda row: (QUICK_DATASETS.index(row["dataset"]), row["ipc"], METHODS.index(row["method"]))
    )
    return [
        _line(
            *_what(row["dataset"], row["ipc"], row["method"]),
            *_scores(row["search"]["test"], row["search"]["random_test"]),
            f"{row['search']['first_iteration_seconds']:.0f} s",
            f"{row['search']['seconds']:.0f} s",
        )
        for row in ended
    ]


def _what(dataset: str, ipc: int, method: str) -> tuple[str, str]:
    return f"`{dataset}`, {ipc} a class", f"`{method}`"


def _scores(test: dict[str, Any], random: dict[str, Any]) -> tuple[str, str, str]:
    n = str(test["n"]) if test["n"] == random["n"] else f"{test['n']}, {random['n']}"
    return _percent(test), _percent(random), n


def _others(cross: dict[str, Any] | None) -> str:
    """Means over the other architectures, on validation; a dash for searches that did not measure them."""
    if cross is None:
        return "-"
    return f"{100 * cross['distilled']['mean']:.1f}, {100 * cross['random']['mean']:.1f}"


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def tables(results: Path) -> list[str]:
    """Both tables in Markdown, in the order in which README.md has them."""
    return [
        "".join(f"{line}\n" for line in (_line(*head), "|---" * len(head) + "|", *lines))
        for head, lines in ((SEARCHES, rows(results)), (QUICK, quick_rows(results)))
    ]


def with_tables(readme: str, results: Path) -> str:
    """The README with its tables made anew.

    Raises:
        ValueError: it lacks one of them, or has it twice.
    """
    for table in tables(results):
        head = table.splitlines(keepends=True)[0]
        changed, count = re.subn(re.escape(head) + r"(?:\|.*\n)*", lambda _, table=table: table, readme)
        if count != 1:
            raise ValueError(
                f"README.md holds {count} tables of results with the head {head.strip()}; expected 1"
            )
        readme = changed
    return readme


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="change README.md")
    path, results = ROOT / "README.md", ROOT / "experiments" / "results"
    if parser.parse_args().write:
        path.write_text(with_tables(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    else:
        print("\n".join(tables(results)))


if __name__ == "__main__":
    main()
