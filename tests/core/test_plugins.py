from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from study.core.errors import ConfigError, UnknownNameError
from study.core.plugins import Registry

SHIPPED = """
from {package} import TABLE, imported
imported.append(__name__)
TABLE.register("{name}", "{name}!", __name__)
"""


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """A package of two modules that register an item each, and the table they register in."""
    name = f"shipped_{abs(hash(request.node.name))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from study.core.plugins import Registry\n"
        f"TABLE = Registry('colour', '{name}', '{name}.plugins')\nimported = []\n"
    )
    for item in ("red", "blue"):
        (folder / f"{item}.py").write_text(SHIPPED.format(package=name, name=item))
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    for module in [known for known, module in sys.modules.items() if is_below(module, tmp_path)]:
        del sys.modules[module]


def is_below(module, folder):
    return str(getattr(module, "__file__", "")).startswith(str(folder))


def install(package, tmp_path, source, distribution="paints"):
    """Another distribution with one module behind an entry point."""
    (tmp_path / f"{distribution}_module.py").write_text(source)
    facts = tmp_path / f"{distribution}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{package.__name__}.plugins]\nextra = {distribution}_module\n")


def test_what_is_shipped_and_what_is_installed_is_found(package, tmp_path):
    install(package, tmp_path, SHIPPED.format(package=package.__name__, name="green"))
    assert list(package.TABLE) == ["blue", "green", "red"]
    assert (package.TABLE.find("green"), len(package.TABLE)) == ("green!", 3)
    with pytest.raises(
        UnknownNameError, match=r"unknown colour 'grene'. Did you mean 'green'\? Choices: blue, g"
    ):
        package.TABLE.find("grene")


def test_nothing_is_imported_before_the_first_look_and_then_once(package):
    assert package.imported == []
    gate = threading.Barrier(8)

    def look(_):
        gate.wait()
        return list(package.TABLE)

    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(look, range(8)))
    assert tables == [["blue", "red"]] * 8
    assert len(package.imported) == 2


def test_a_broken_plug_in_is_named_with_its_distribution(package, tmp_path):
    install(package, tmp_path, "import no_such_module")
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            package.TABLE.find("red")
        for word in ("'extra'", "paints_module", "of paints", "no_such_module", "uninstall paints"):
            assert word in str(caught.value)


def test_a_name_belongs_to_one_module(package, tmp_path):
    install(package, tmp_path, SHIPPED.format(package=package.__name__, name="red"))
    with pytest.raises(ConfigError, match=r"colour 'red' is defined by both .*\.red and paints_module"):
        list(package.TABLE)


def test_a_module_may_register_again(package):
    table = Registry("colour", package.__name__, "nothing")
    table.register("red", 1, "here")
    table.register("red", 2, "here")
    assert table["red"] == 2
