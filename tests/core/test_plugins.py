from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from study.core import plugins
from study.core.errors import ConfigError
from study.core.plugins import load_plugins

SLOW = "import time, builtins; time.sleep(0.2); builtins.plugin_log.append(__name__)"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the modules that were executed; search path and modules are as before after the test."""
    executed: list[str] = []
    monkeypatch.setattr("builtins.plugin_log", executed, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield executed
    plugins._load.cache_clear()
    for module in set(sys.modules) - modules:
        del sys.modules[module]


@pytest.fixture
def package(tmp_path: Path, log: list[str]) -> Callable[[str], None]:
    """``package("other:thing")`` makes a package ``house`` with two modules, and ``other`` with that entry point."""

    def make(value: str) -> None:
        (tmp_path / "house" / "inner").mkdir(parents=True)
        for name in ("house/__init__.py", "house/inner/__init__.py"):
            (tmp_path / name).touch()
        (tmp_path / "house" / "inner" / "room.py").write_text(SLOW)
        (tmp_path / "other.py").write_text(SLOW + "; thing = 1")
        info = tmp_path / "other-2.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2.1\n")
        (info / "entry_points.txt").write_text(f"[house]\nits-name = {value}\n")
        sys.path.append(str(tmp_path))

    return make


def test_threads_wait_for_one_scan_of_package_and_entry_points(
    package: Callable[[str], None], log: list[str]
) -> None:
    package("other:thing")
    seen = []

    def load() -> None:
        load_plugins("house")
        seen.append(sorted(log))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["house.inner.room", "other"]] * 4


@pytest.mark.parametrize(
    ("value", "fault"),
    [("lost:thing", "ModuleNotFoundError: No module named 'lost'"), ("other:name", "AttributeError: .*name")],
)
def test_a_broken_entry_point_is_named_with_its_package(
    package: Callable[[str], None], value: str, fault: str
) -> None:
    package(value)
    for _ in range(2):  # the second caller is told, too
        with pytest.raises(
            ConfigError, match=rf"'its-name = {value}' \(house\) of other 2\.1 .*: {fault}"
        ) as caught:
            load_plugins("house")
        assert "\n" not in str(caught.value)
