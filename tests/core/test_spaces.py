"""Search spaces: what can be written in a recipe and on the command line."""

import pytest

from study.core.errors import ConfigError
from study.core.spaces import Choice, Range, describe, parse_space, read_space


def test_words_become_parameters():
    space = parse_space(
        ["a.lr=0.1:10:log", "a.n=1:9:int:step=2", "a.init=real,noise", "a.k=1,2.5,true", "a.m=fixed"]
    )
    assert space == {
        "a.lr": Range(low=0.1, high=10, log=True),
        "a.n": Range(kind="int", low=1, high=9, step=2),
        "a.init": Choice(choices=("real", "noise")),
        "a.k": Choice(choices=(1, 2.5, True)),
        "a.m": None,
    }


def test_tables_become_parameters():
    assert read_space({"a.lr": {"low": 1, "high": 2}, "a.i": {"choices": ["x"]}}) == {
        "a.lr": Range(low=1, high=2),
        "a.i": Choice(choices=("x",)),
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a.lr", "write name=low:high .* such as distill.image_lr=0.1:10:log"),
        ("a.lr=2:1", "low 2 is above high 1"),
        ("a.lr=0:1:log", "must start above 0"),
        ("a.lr=1:2:lin", "unknown flag 'lin'"),
        ("a.lr=x:2", "a.lr=x:2: low is 'x', which is no number; write name=low:high"),
        ("a.lr=1:4:log:step=1", "exclude each other"),
    ],
)
def test_unreadable_words_are_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        parse_space([word])


def test_description_is_readable():
    assert describe(Range(low=0.1, high=10, log=True)) == "0.1 to 10, log"
    assert describe(Choice(choices=("real", "noise"))) == "real | noise"
