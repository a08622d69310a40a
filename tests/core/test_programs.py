from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from study.core.errors import ConfigError
from study.core.programs import ProgramCache, go_on_plain


def test_what_was_used_last_is_kept() -> None:
    cache: ProgramCache[int] = ProgramCache(2)
    built: list[str] = []

    def get(key: str) -> int:
        return cache.get(key, lambda: (built.append(key), len(built))[1])

    assert (get("a"), get("b"), get("a")) == (1, 2, 1)
    assert (get("c"), get("a")) == (3, 1), "a was used after b, so b had to go"
    assert get("b") == 4
    cache.forget("b")
    assert get("b") == 5
    cache.forget("unknown")


@pytest.mark.parametrize("shared", [False, True])
def test_threads_share_what_is_meant_to_be_shared(shared: bool) -> None:
    cache: ProgramCache[object] = ProgramCache(4, shared=shared)
    here = cache.get("key", object)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(cache.get, "key", object).result()
    assert (here is there) is shared


def test_a_failed_compiler_is_an_error_where_it_was_demanded(caplog: pytest.LogCaptureFixture) -> None:
    go_on_plain(RuntimeError("no headers\nand more"), demanded=False)
    assert caplog.messages == ["compiling failed, going on without: no headers"]
    with pytest.raises(ConfigError, match="compiling failed: no headers"):
        go_on_plain(RuntimeError("no headers"), demanded=True)
