"""The layers of the package: imports go right only, and each platform is talked to in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import study

PACKAGE = Path(study.__file__).parent
BELOW_METHODS = {"evaluation", "models", "data", "core"}
MAY_IMPORT = {
    "cli": {"api", "core"},
    "api": {"runs", "methods", "protocols", "sets", "core"},
    "runs": {"protocols", "search", "tracking", "methods", "sets"} | BELOW_METHODS,
    "protocols": {"methods", "sets"} | BELOW_METHODS,
    "search": {"core"},
    "tracking": {"core"},
    "methods": BELOW_METHODS,
    "sets": {"data", "core"},
    "evaluation": {"models", "data", "core"},
    "models": {"core"},
    "data": {"core"},
    "core": set(),
    "testing": {"protocols", "methods", "sets"} | BELOW_METHODS,
}
"""For every layer those below it that it may look into; `runs` alone wires the five in the middle."""
OWNERS = {"mlflow": "tracking", "optuna": "search", "typer": "cli"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def layer_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "study" and len(parts) > 1 and parts[1] in MAY_IMPORT else None


def violations(layer: str, names: set[str]) -> list[str]:
    found = []
    for name in names:
        target = layer_of(name)
        if target and target != layer and target not in MAY_IMPORT[layer]:
            found.append(f"{layer} imports {name}")
        owner = OWNERS.get(name.split(".")[0])
        if owner and owner != layer:
            found.append(f"{layer} imports {name}, which belongs to {owner}")
    return found


def unofficial_names(source: str) -> set[str]:
    """What code takes of ``study`` itself, by import or as an attribute, although its interface lacks it."""
    taken: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "study":
            taken.update(alias.name for alias in node.names)
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "study"
        ):
            taken.add(node.attr)
    return taken - set(study.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_right_only(path):
    relative = path.relative_to(PACKAGE)
    if len(relative.parts) > 1:
        assert relative.parts[0] in MAY_IMPORT, f"{relative.parts[0]} is not a layer"
        assert violations(relative.parts[0], imported_names(path)) == []


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("core", "study.data.splits"),
        ("methods", "study.tracking"),
        ("models", "study.data"),
        ("runs", "mlflow.tracking"),
        ("methods", "optuna"),
        ("search", "typer"),
        ("cli", "study.runs.tune"),
        ("cli", "study.data.datasets"),
    ],
)
def test_the_rule_catches(layer, name):
    assert violations(layer, {name})


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda p: p.name)
def test_commands_call_the_public_interface(path):
    layers = {name.split(".")[1] for name in imported_names(path) if name.startswith("study.")}
    assert layers <= {"cli", "api", "core", *study.__all__}
    assert unofficial_names(path.read_text()) <= {"__version__", "cli", "core"}


def test_the_rule_of_the_interface_catches():
    assert unofficial_names("import study\nstudy.runs.tune.tune()\nstudy.tune()") == {"runs"}
    assert unofficial_names("from study import tracking, tune") == {"tracking"}


def test_modules_stay_readable():
    long = {str(p.relative_to(PACKAGE)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 300}
    assert long == {}, "a module that outgrew its sentence is to be split"
