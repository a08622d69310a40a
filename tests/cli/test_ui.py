from __future__ import annotations

import os
import urllib.request

import pytest
from typer.testing import CliRunner
from ui_process import ui_process

from study.cli.app import app
from study.tracking.open import open_tracker


def invoke(*words):
    return CliRunner().invoke(app, ["ui", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--port", "5060"), "browsers refuse"),
        (("--port", "80"), "1024"),
        (("--host", "203.0.113.7"), "no address of this machine"),
        (("--tracking-uri", "http://127.0.0.1:9"), "does not answer"),
        (("--tracking-uri", "file:./x"), "retired"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_exit_code_2(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = invoke(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_the_server_cleanly(store_root):
    tracker = open_tracker(None, store_root)
    search = tracker.start_run("digits-ipc1", "digits-dm-ipc1-1", tags={"study.kind": "search"})
    search.finish()
    with ui_process(store_root.parent) as shown:
        with urllib.request.urlopen(f"{shown['address']}/health", timeout=5) as answer:
            assert answer.status == 200
        assert shown["address"].startswith("http://127.0.0.1:")
        assert search.run_id in shown["links"]["runs"]
    with pytest.raises(ProcessLookupError):
        os.kill(shown["pid"], 0)
