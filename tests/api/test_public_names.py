"""What ``import study`` promises: every public name is there, explained, and loaded only when it is used."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import study

API = [
    importlib.import_module(f"study.api.{name}") for name in ("judging", "listing", "searching", "storing")
]
FUNCTIONS = {
    name: value
    for module in API
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
}

CALLED_BETWEEN_IMPORTS = """
import study
before = study.methods(), study.protocols(), study.sets
import study.methods.dm, study.protocols.noise, study.sets.files
assert "dm" in study.methods() and study.methods() == before[0], "methods"
assert "noise" in study.protocols() and study.protocols() == before[1], "protocols"
assert study.sets.__name__ == "study.sets" and callable(study.sets) and callable(before[2]), "sets"
from study import methods
assert methods() == before[0] and methods.dm.DM.name == "dm"
"""


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted(set(study.__all__) - {"__version__", "testing"}))
def test_every_public_name_exists_and_is_explained(name: str) -> None:
    value = getattr(study, name)
    documented = FUNCTIONS.get(name, value)
    text = inspect.getdoc(documented) or ""
    # A dataclass without a docstring of its own gets its signature as one.
    assert text, f"{name} is not explained"
    assert not text.startswith(f"{name}("), f"{name} is not explained"
    if not inspect.isclass(value):
        assert callable(value)
        assert ">>> import study\n    >>> " in text, f"{name} has no example"
        assert f"study.{name}(" in text, f"the example of {name} does not use it"


def test_every_function_of_the_interface_is_public_and_every_home_is_known() -> None:
    assert set(FUNCTIONS) <= set(study.__all__)
    assert set(study.__all__) <= set(dir(study))
    with pytest.raises(AttributeError, match="no attribute 'tunes'"):
        _ = study.tunes


def test_importing_it_loads_no_heavy_library() -> None:
    done = run("-X", "importtime", "-c", "import study")
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "study" in loaded
    assert not loaded & {"torch", "mlflow", "optuna", "numpy", "pandas", "sklearn", "typer", "rich"}


def test_functions_that_share_a_name_with_a_package_stay_callable_once_it_is_imported() -> None:
    done = run("-c", CALLED_BETWEEN_IMPORTS)
    assert done.returncode == 0, done.stderr
