from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import study.methods
from study.core.errors import ConfigError, UnknownNameError
from study.methods.base import METHODS, find_method, register
from study.methods.dm import DM

ONE_FILE = '''
"""A method as a third person would write it."""

from collections.abc import Iterator
from typing import ClassVar

from study.core.records import Progress, SyntheticSet
from study.core.seeding import Generators
from study.methods.base import Method, MethodConfig, Task, register
from study.methods.initialize import initialize


class BlurConfig(MethodConfig):
    strength: float = 0.5


@register
class Blur(Method[BlurConfig]):
    name: ClassVar[str] = "blur"
    Config: ClassVar[type[MethodConfig]] = BlurConfig

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        images, labels = initialize(self.config.init, task.train, task.ipc, generators["init"])
        yield Progress(0, {}, lambda: SyntheticSet(images, labels, task.train.class_names))
'''


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table of methods and imported modules are as before after each test, and the package may be scanned anew."""
    assert "dm" in METHODS
    modules = set(sys.modules)
    monkeypatch.setattr(METHODS, "_items", dict(METHODS._items))
    monkeypatch.setattr(METHODS, "_is_scanned", True)
    monkeypatch.setattr(study.methods, "__path__", list(study.methods.__path__))
    yield
    for module in set(sys.modules) - modules:
        del sys.modules[module]


def test_a_file_in_the_package_is_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blur.py").write_text(ONE_FILE)
    study.methods.__path__.append(str(tmp_path))
    with pytest.raises(UnknownNameError):  # a process scans once
        find_method("blur")
    monkeypatch.setattr(METHODS, "_is_scanned", False)
    assert find_method("blur").Config().strength == 0.5
    assert set(METHODS) >= {"dm", "random", "blur"}


def test_an_unknown_name_lists_the_methods_and_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown method 'rndom'. Did you mean 'random'\? Choices: .*dm"
    ):
        find_method("rndom")


def test_a_name_taken_twice_is_an_error() -> None:
    class Impostor(DM):
        pass

    with pytest.raises(ConfigError, match=r"'dm' is defined by both study\.methods\.dm\.DM and"):
        register(Impostor)
    assert find_method("dm") is DM
    assert register(DM) is DM
