from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from study.core.device import Compute, compiler_available
from study.core.errors import ConfigError
from study.core.programs import INDUCTOR_FOLDER, ProgramCache, compile_fixed, go_on_plain
from study.models.work import Load, worth_compiling

CPU = torch.device("cpu")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.compile`` gives the program as it is."""

    def plain(program: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        assert options == {"dynamic": False}
        return program

    monkeypatch.setattr(torch, "compile", plain)


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


@pytest.mark.usefixtures("no_compiler")
def test_compiled_programs_are_kept_in_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(INDUCTOR_FOLDER)
    assert compile_fixed(abs) is abs
    assert os.environ[INDUCTOR_FOLDER] == str(tmp_path / "cache" / "compiled")
    assert list((tmp_path / "cache" / "compiled").iterdir()) == []
    # What torch sets by itself, once its compiler was imported, is no wish of the user.
    monkeypatch.setenv(INDUCTOR_FOLDER, default_cache_dir())
    compile_fixed(abs)
    assert os.environ[INDUCTOR_FOLDER] == str(tmp_path / "cache" / "compiled")


@pytest.mark.usefixtures("no_compiler")
def test_a_folder_that_the_user_names_is_used_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(INDUCTOR_FOLDER, str(tmp_path / "mine"))
    compile_fixed(abs)
    assert os.environ[INDUCTOR_FOLDER] == str(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("no_compiler")
def test_a_cache_that_cannot_be_written_leaves_the_default_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file"))
    monkeypatch.delenv(INDUCTOR_FOLDER)
    assert compile_fixed(abs) is abs
    assert INDUCTOR_FOLDER not in os.environ


@pytest.mark.parametrize("loop", ["evaluation", "features", "student"])
def test_what_is_kept_does_not_decide_whether_a_program_is_compiled(
    loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.core.device.compiler_available", lambda device: True)
    monkeypatch.delenv(INDUCTOR_FOLDER)

    def decide(cache: Path) -> list[bool]:
        monkeypatch.setenv("STUDY_CACHE", str(cache))
        return [
            worth_compiling(loop, Compute(CPU, compile="auto"), Load(1, 1e9) * 10**power)
            for power in range(13)
        ]

    cold = decide(tmp_path / "cold")
    (tmp_path / "warm" / "compiled" / "fxgraph").mkdir(parents=True)
    (tmp_path / "warm" / "compiled" / "fxgraph" / "program").write_bytes(b"x")
    assert decide(tmp_path / "warm") == cold
    assert set(cold) == {False, True}
    assert not (tmp_path / "cold").exists()


@pytest.mark.slow
@pytest.mark.skipif(not compiler_available(CPU), reason="no C++ compiler")
def test_another_process_finds_what_was_compiled_and_computes_the_same(tmp_path: Path) -> None:
    script = """
        import torch
        from torch._dynamo.utils import counters
        torch.optim.SGD([torch.zeros(1)], lr=0.1)
        from study.core.programs import compile_fixed
        program = compile_fixed(lambda values: torch.tanh(values).sum(dim=1) * 3)
        found = program(torch.arange(600.0).reshape(20, 30).sin())
        print(counters["inductor"]["fxgraph_cache_hit"], found.double().sum().item().hex())
    """
    environment = {name: value for name, value in os.environ.items() if name != INDUCTOR_FOLDER}
    lines = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**environment, "STUDY_CACHE": str(tmp_path)}, capture_output=True, text=True, check=True,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert [hits for hits, _ in lines] == ["0", "1"]
    assert lines[0][1] == lines[1][1]
    assert list((tmp_path / "compiled" / "fxgraph").iterdir())
