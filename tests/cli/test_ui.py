from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

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
    command = [sys.executable, "-c", "from study.cli.app import main; main()", "ui", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(
        command, cwd=store_root.parent, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have had Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line == "}\n":
                    break
            shown = json.loads("".join(lines))
            with urllib.request.urlopen(f"{shown['address']}/health", timeout=5) as answer:
                assert answer.status == 200
            assert shown["address"].startswith("http://127.0.0.1:")
            assert search.run_id in shown["links"]["runs"]
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "")
    assert errors.splitlines()[-1] == "Stopped."
    with pytest.raises(ProcessLookupError):
        os.kill(shown["pid"], 0)
