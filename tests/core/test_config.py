"""Configuration: strict keys, readable faults, overrides, one digest."""

import pytest
from pydantic import Field

from study.core.config import Frozen, build, digest, flatten, merge, parse_overrides, read_toml
from study.core.errors import ConfigError, UnknownNameError


class Inner(Frozen):
    image_lr: float = Field(1.0, gt=0)


class Outer(Frozen):
    inner: Inner = Inner()
    name: str = "x"


def test_unknown_key_names_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"'run\.inner\.image_lrr'. Did you mean 'run\.inner\.image_lr'"
    ):
        build(Outer, {"inner": {"image_lrr": 1}}, "run")


@pytest.mark.parametrize("value", [0, -1, "fast", float("nan"), float("inf")])
def test_value_out_of_range_is_one_line_with_the_value(value):
    with pytest.raises(ConfigError) as caught:
        build(Outer, {"inner": {"image_lr": value}})
    assert "inner.image_lr" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_configuration_cannot_change():
    with pytest.raises(ValueError, match="frozen"):
        Outer().name = "y"  # type: ignore[misc]


def test_overrides_read_values_as_toml():
    words = ["a.b=0.5", "a.c=[1, 2]", "d=real+noise", "e=none", 'f="7"', "g=true"]
    expected = {"a": {"b": 0.5, "c": [1, 2]}, "d": "real+noise", "e": None, "f": "7", "g": True}
    assert parse_overrides(words) == expected


@pytest.mark.parametrize("word", ["a.b", "=1", "a..b=1"])
def test_override_without_key_or_value_is_refused(word):
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_overrides([word])


def test_merge_and_flatten():
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    merged = merge(base, {"a": {"b": 9}})
    assert merged == {"a": {"b": 9, "c": 2}, "d": 3}
    assert base["a"] == {"b": 1, "c": 2}
    assert flatten(merged) == {"a.b": 9, "a.c": 2, "d": 3}


def test_digest_ignores_order_and_sees_values():
    assert digest({"a": 1, "b": {"c": 2}}) == digest({"b": {"c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_toml_faults_name_the_file(tmp_path):
    twice = tmp_path / "twice.toml"
    twice.write_text("a = 1\na = 2\n")
    with pytest.raises(ConfigError, match=r"twice\.toml"):
        read_toml(twice)
    with pytest.raises(ConfigError, match="cannot read recipe"):
        read_toml(tmp_path / "absent.toml")
