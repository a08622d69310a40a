from __future__ import annotations

import pytest

from study.core.errors import ConfigError, UnknownSetError
from study.tracking.base import RegisteredSet
from study.tracking.references import Reference, check_alias, check_set_name, parse_reference, pick


def version(number, *aliases):
    return RegisteredSet("digits-dm-ipc1", str(number), aliases, {}, "run", float(number))


NEWEST_FIRST = [version(10), version(9, "best", "paper"), version(2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits-dm-ipc1", Reference("digits-dm-ipc1")),
        ("digits-dm-ipc1@best", Reference("digits-dm-ipc1", alias="best")),
        ("pad.mhist-ipc10/3", Reference("pad.mhist-ipc10", version="3")),
        ("x/007", Reference("x", version="7")),
    ],
)
def test_grammar(text, expected):
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    "text", ["", "@best", "x@", "x/", "x/best", "x@a/3", "x/3@a", "a b", "../x", "x:1", "-x", "x/-1"]
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UnknownSetError, match="digits-dm-ipc1@best"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "number"), [("", "9"), ("@best", "9"), ("@paper", "9"), ("/2", "2"), ("/10", "10")]
)
def test_pick(text, number):
    assert pick(parse_reference(f"digits-dm-ipc1{text}"), NEWEST_FIRST, []).version == number


def test_a_bare_name_without_best_means_the_newest():
    assert pick(Reference("x"), [version(3), version(2, "paper")], []).version == "3"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Reference("x", version="4"), "no version 4. Choices: 10, 9, 2"),
        (Reference("x", alias="worst"), "no alias 'worst'. Choices: best, paper"),
    ],
)
def test_missing_alias_or_version_lists_the_choices(reference, message):
    with pytest.raises(UnknownSetError, match=message):
        pick(reference, NEWEST_FIRST, [])


def test_unknown_name_gives_the_nearest_one():
    with pytest.raises(UnknownSetError, match="Did you mean 'digits-dm-ipc1'"):
        pick(Reference("digit-dm-ipc1"), [], ["mnist-pad-ipc50", "digits-dm-ipc1"])


def test_empty_registry_says_what_fills_it():
    with pytest.raises(UnknownSetError, match="study tune"):
        pick(Reference("x"), [], [])


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@b", "..", ".hidden", "a b", "-a"])
def test_set_names_can_be_referred_to_and_are_no_paths(name):
    with pytest.raises(ConfigError, match="set name"):
        check_set_name(name)


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V22", "3", "a b", ""])
def test_reserved_or_malformed_aliases(alias):
    with pytest.raises(ConfigError, match="alias"):
        check_alias(alias)


def test_usual_names_pass():
    check_set_name("digits-dm-ipc1-16px")
    check_alias("best")
