"""Every registered method keeps the contract. A new method enters by being registered; nothing is listed here.

Where its defaults are too slow for the toy task, it gets a line in ``TINY`` in ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from study.methods.base import METHODS
from study.testing import MethodContract
from study.testing.methods import digests_elsewhere


def test_some_methods_optimise_and_some_select() -> None:
    optimising = [name for name in METHODS if METHODS[name].Config().num_iterations > 0]
    assert "dm" in optimising
    assert "random" in set(METHODS) - set(optimising)


@pytest.fixture(scope="module")
def all_digests_elsewhere(tiny: Callable) -> dict[str, str]:
    """One other process for all: importing torch takes longer than all of them together."""
    return digests_elsewhere([(method, tiny(name)) for name, method in METHODS.items()])


@pytest.mark.parametrize("name", sorted(METHODS))
class TestEveryMethod(MethodContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name: str, tiny: Callable) -> None:
        self.method, self.settings = METHODS[name], tiny(name)

    @pytest.fixture
    def digest_elsewhere(self, name: str, all_digests_elsewhere: dict[str, str]) -> str:
        return all_digests_elsewhere[name]
