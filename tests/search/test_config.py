"""The objectives of a search, as users may write them and as they are kept."""

import pytest

from study.core.config import build, parse_overrides
from study.core.errors import ConfigError
from study.search.config import SearchConfig


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("accuracy", "accuracy"),
        ("cross-arch", "cross-arch"),
        ("accuracy,cross-arch", "accuracy,cross-arch"),
        ("cross-arch, accuracy", "accuracy,cross-arch"),
        (["cross-arch", "accuracy"], "accuracy,cross-arch"),
    ],
)
def test_any_order_is_kept_in_one(asked, kept):
    config = build(SearchConfig, {"objective": asked}, "search")
    assert config.objective == kept
    assert config.objectives == tuple(kept.split(","))


def test_no_pruner_can_be_asked_for_on_the_command_line():
    asked = parse_overrides(["search.pruner=none"])["search"]
    assert build(SearchConfig, asked, "search").pruner == "none"


@pytest.mark.parametrize(
    "asked", ["speed", "accuracy,speed", "accuracy,accuracy", "accuracy,", "", 3, [], [{}]]
)
def test_nonsense_is_one_line_with_the_choices(asked):
    with pytest.raises(ConfigError, match=r"search\.objective = .*'accuracy,cross-arch'"):
        build(SearchConfig, {"objective": asked}, "search")
